package container

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/containers"
)

// List implements containers.Reader: newest first, from memory alone unless
// sizes are asked for.
func (m *Manager) List(ctx context.Context, o containers.ListOptions) ([]container.Summary, error) {
	match, err := m.matcher(ctx, o)
	if err != nil {
		return nil, err
	}
	var list []view
	for _, u := range m.all() {
		v := u.view()
		if match(v) {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, newestFirst)
	if o.Limit > 0 {
		list = list[:min(len(list), o.Limit)]
	}
	out := make([]container.Summary, 0, len(list))
	for _, v := range list {
		s := summary(v)
		if o.Size {
			rw, all, err := m.sizes(ctx, v.rec)
			if err != nil {
				return nil, err
			}
			s.SizeRw, s.SizeRootFs = *rw, *all
		}
		out = append(out, s)
	}
	return out, nil
}

// view is a container as it is at one moment.
type view struct {
	rec    record
	health *container.Health
}

func (u *unit) view() view {
	u.mu.Lock()
	defer u.mu.Unlock()
	return view{u.rec, copyHealth(u.health)}
}

func newestFirst(a, b view) int {
	return cmp.Or(b.rec.Created.Compare(a.rec.Created), strings.Compare(a.rec.ID, b.rec.ID))
}

func summary(v view) container.Summary {
	r := v.rec
	s := container.Summary{
		ID: r.ID, Names: []string{r.Name}, Image: r.Config.Image, ImageID: r.ImageID.String(), ImageManifestDescriptor: r.Manifest,
		Command: commandLine(r), Created: r.Created.Unix(), Ports: ports(r), Labels: r.Config.Labels,
		State: r.Run.Status, Status: statusText(v, time.Now()), Mounts: apiMounts(r),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: apiNetwork(r).Networks},
		Health:          &container.HealthSummary{Status: container.NoHealthcheck},
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	if v.health != nil {
		s.Health = &container.HealthSummary{Status: v.health.Status, FailingStreak: v.health.FailingStreak}
	}
	s.HostConfig.NetworkMode = string(r.Host.NetworkMode)
	s.HostConfig.Annotations = r.Host.Annotations
	return s
}

// commandLine shows arguments with blanks in single quotes, as Docker does.
func commandLine(r record) string {
	words := []string{r.Path}
	for _, a := range r.Args {
		if strings.Contains(a, " ") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

func ports(r record) []container.PortSummary {
	out := []container.PortSummary{}
	for p, bindings := range apiNetwork(r).Ports {
		if len(bindings) == 0 {
			out = append(out, container.PortSummary{PrivatePort: p.Num(), Type: string(p.Proto())})
		}
		for _, b := range bindings {
			public, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil {
				continue // a range that is not resolved yet
			}
			out = append(out, container.PortSummary{IP: b.HostIP, PrivatePort: p.Num(), PublicPort: uint16(public), Type: string(p.Proto())})
		}
	}
	slices.SortFunc(out, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.PublicPort, b.PublicPort), strings.Compare(a.Type, b.Type), a.IP.Compare(b.IP))
	})
	return out
}

// statusText is the STATUS column of docker ps.
func statusText(v view, now time.Time) string {
	x := v.rec.Run
	ago := func(t time.Time) string { return units.HumanDuration(now.Sub(t)) }
	switch x.Status {
	case container.StateRunning:
		if v.health != nil && v.health.Status == container.Starting {
			return fmt.Sprintf("Up %s (health: starting)", ago(x.StartedAt))
		}
		if v.health != nil {
			return fmt.Sprintf("Up %s (%s)", ago(x.StartedAt), v.health.Status)
		}
		return "Up " + ago(x.StartedAt)
	case container.StatePaused:
		return fmt.Sprintf("Up %s (Paused)", ago(x.StartedAt))
	case container.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", x.ExitCode, ago(x.FinishedAt))
	case container.StateRemoving:
		return "Removal In Progress"
	case container.StateDead:
		return "Dead"
	case container.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", x.ExitCode, ago(x.FinishedAt))
	case container.StateCreated:
	}
	return "Created"
}

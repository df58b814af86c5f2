package container

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/filter"
)

// matcher prepares the filters of a list: what they refer to is looked up
// once.
func (m *Manager) matcher(ctx context.Context, o containers.ListOptions) (func(view) bool, error) {
	f := o.Filters
	if err := checkFilters(f); err != nil {
		return nil, err
	}
	before, err := m.reference(f, "before")
	if err != nil {
		return nil, err
	}
	since, err := m.reference(f, "since")
	if err != nil {
		return nil, err
	}
	named, err := f.Patterns("name")
	if err != nil {
		return nil, err
	}
	ancestors := m.ancestors(ctx, f)
	all := o.All || f.Has("status") || f.Has("exited") || o.Limit > 0 || before != nil || since != nil
	return func(v view) bool {
		r := v.rec
		if !all && !active(r.Run.Status) {
			return false
		}
		if before != nil && !r.Created.Before(before.Created) || since != nil && !r.Created.After(since.Created) {
			return false
		}
		if f.Has("ancestor") && !ancestors(r) {
			return false
		}
		// Patterns are for the name with its slash and without.
		return named(r.Name, strings.TrimPrefix(r.Name, "/")) && matchRecord(f, v)
	}, nil
}

func checkFilters(f filter.Args) error {
	for _, v := range f.Get("status") {
		if err := container.ValidateContainerState(container.ContainerState(v)); err != nil {
			return invalid("%v", err)
		}
	}
	for _, v := range f.Get("health") {
		if err := container.ValidateHealthStatus(container.HealthStatus(v)); err != nil {
			return invalid("%v", err)
		}
	}
	for _, v := range f.Get("exited") {
		if _, err := strconv.Atoi(v); err != nil {
			return invalid("invalid filter 'exited=%s'", v)
		}
	}
	for _, name := range []string{"publish", "expose"} {
		for _, v := range f.Get(name) {
			if _, err := apinetwork.ParsePortRange(v); err != nil {
				return invalid("invalid filter '%s=%s': %v", name, v, err)
			}
		}
	}
	return nil
}

func (m *Manager) reference(f filter.Args, name string) (*record, error) {
	v := f.Get(name)
	if len(v) == 0 {
		return nil, nil
	}
	u, err := m.find(v[len(v)-1])
	if err != nil {
		return nil, err
	}
	r := u.get()
	return &r, nil
}

// ancestors matches containers by their image. An image that is not there has
// no containers.
func (m *Manager) ancestors(ctx context.Context, f filter.Args) func(record) bool {
	var ids, names []string
	for _, v := range f.Get("ancestor") {
		names = append(names, v)
		if img, err := m.cfg.Images.Get(ctx, v); err == nil {
			ids = append(ids, img.ID.String())
		}
	}
	return func(r record) bool {
		return slices.Contains(ids, r.ImageID.String()) || slices.Contains(names, r.Config.Image)
	}
}

func matchRecord(f filter.Args, v view) bool {
	r := v.rec
	health := container.NoHealthcheck
	if v.health != nil {
		health = v.health.Status
	}
	return f.Any("id", func(s string) bool { return strings.HasPrefix(r.ID, s) }) &&
		f.Any("status", func(s string) bool { return s == string(r.Run.Status) }) &&
		f.Any("health", func(s string) bool { return s == string(health) }) &&
		f.Any("exited", func(s string) bool {
			return s == strconv.Itoa(r.Run.ExitCode) && !active(r.Run.Status) && !r.Run.FinishedAt.IsZero()
		}) &&
		f.Any("is-task", func(s string) bool { return s == "false" || s == "0" }) &&
		f.Any("network", func(s string) bool { return onNetwork(r, s) }) &&
		f.Any("volume", func(s string) bool { return hasVolume(r, s) }) &&
		f.Any("publish", func(s string) bool { return hasPort(r, s, true) }) &&
		f.Any("expose", func(s string) bool { return hasPort(r, s, false) }) &&
		f.Labels(r.Config.Labels)
}

func onNetwork(r record, want string) bool {
	for name, e := range apiNetwork(r).Networks {
		if name == want || e != nil && e.NetworkID != "" && strings.HasPrefix(e.NetworkID, want) {
			return true
		}
	}
	return false
}

func hasVolume(r record, want string) bool {
	for _, p := range r.Mounts {
		if p.Name == want || p.Destination == want || p.Source == want {
			return true
		}
	}
	return false
}

// hasPort matches a port or a range. Published ports are matched by their
// number on the host, exposed ones by the container's.
func hasPort(r record, want string, published bool) bool {
	rng, err := apinetwork.ParsePortRange(want)
	if err != nil {
		return false
	}
	in := func(n uint16, proto string) bool {
		return n >= rng.Start() && n <= rng.End() && proto == string(rng.Proto())
	}
	for _, p := range ports(r) {
		if published && p.PublicPort != 0 && in(p.PublicPort, p.Type) {
			return true
		}
	}
	if published {
		return false
	}
	for p := range r.Config.ExposedPorts {
		if in(p.Num(), string(p.Proto())) {
			return true
		}
	}
	return false
}

package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/filter"
)

// Remove implements volumes.Backend. With force, one that is gone is no
// error.
func (m *Manager) Remove(_ context.Context, name string, force bool) error {
	trash, err := m.discard(name, force)
	return errors.Join(err, sweep(trash))
}

func (m *Manager) discard(name string, force bool) (trash []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, err := m.get(name)
	if err != nil {
		if force {
			return nil, nil
		}
		return nil, err
	}
	if len(rec.Users) > 0 {
		return nil, fmt.Errorf("remove %s: volume is in use - [%s]: %w", name, strings.Join(rec.Users, ", "), errdefs.ErrConflict)
	}
	return m.forget([]record{rec})
}

// forget removes volumes. It is called with mu held.
func (m *Manager) forget(drop []record) (trash []string, err error) {
	if trash, err = m.erase(drop, nil); err != nil {
		return nil, fmt.Errorf("volumes: remove: %w", err)
	}
	return trash, nil
}

// Prune implements volumes.Backend. It removes unused anonymous volumes, with
// the filter all=1 named ones too.
func (m *Manager) Prune(_ context.Context, f filter.Args) (volume.PruneReport, error) {
	report, trash, err := m.prune(f)
	return report, errors.Join(err, sweep(trash))
}

func (m *Manager) prune(f filter.Args) (report volume.PruneReport, trash []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	report.VolumesDeleted = []string{}
	all := f.Has("all") && f.Any("all", func(v string) bool { return v == "1" || v == "true" })
	var drop []record
	for _, rec := range m.sorted() {
		if len(rec.Users) > 0 || !all && !rec.anonymous() || !f.Labels(rec.Labels) || unwanted(f, rec.Labels) {
			continue
		}
		size, err := usage(m.path(rec.Name))
		if err != nil {
			return report, nil, fmt.Errorf("volume %s: measure: %w", rec.Name, err)
		}
		report.SpaceReclaimed += size
		report.VolumesDeleted = append(report.VolumesDeleted, rec.Name)
		drop = append(drop, rec)
	}
	if len(drop) == 0 {
		return report, nil, nil
	}
	if trash, err = m.forget(drop); err != nil {
		return report, trash, err
	}
	m.cfg.Events.Publish(events.VolumeEventType, events.ActionPrune, "", map[string]string{"reclaimed": fmt.Sprint(report.SpaceReclaimed)})
	return report, trash, nil
}

// unwanted evaluates label!= filters.
func unwanted(f filter.Args, labels map[string]string) bool {
	return slices.ContainsFunc(f.Get("label!"), func(l string) bool { return filter.Args{"label": {l}}.Labels(labels) })
}

// List implements volumes.Backend.
func (m *Manager) List(_ context.Context, f filter.Args) (volume.ListResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := volume.ListResponse{Volumes: []volume.Volume{}, Warnings: []string{}}
	for _, rec := range m.sorted() {
		dangling := func(v string) bool { return (v == "1" || v == "true") == (len(rec.Users) == 0) }
		if f.Any("name", func(v string) bool { return strings.Contains(rec.Name, v) }) &&
			f.Any("driver", func(v string) bool { return v == Local }) &&
			f.Any("dangling", dangling) && f.Labels(rec.Labels) {
			out.Volumes = append(out.Volumes, m.describe(rec))
		}
	}
	return out, nil
}

// Usage adds references and sizes, for system df. It walks the volumes.
func (m *Manager) Usage(ctx context.Context) ([]volume.Volume, error) {
	m.mu.Lock()
	list := m.sorted()
	m.mu.Unlock()
	out := make([]volume.Volume, 0, len(list))
	for _, rec := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		size, err := usage(m.path(rec.Name))
		if err != nil {
			return nil, fmt.Errorf("volume %s: measure: %w", rec.Name, err)
		}
		v := m.describe(rec)
		v.UsageData = &volume.UsageData{RefCount: int64(len(rec.Users)), Size: int64(size)} //nolint:gosec // a file system's size
		out = append(out, v)
	}
	return out, nil
}

func (m *Manager) sorted() []record {
	out := make([]record, 0, len(m.all))
	for _, r := range m.all {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b record) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// usage adds up the space that a tree occupies, hard links once.
func usage(root string) (total uint64, err error) {
	seen := map[uint64]bool{}
	err = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
			seen[st.Ino] = true
			total += uint64(st.Size) //nolint:gosec // never negative
		}
		return nil
	})
	return total, err
}

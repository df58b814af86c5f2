package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/store"
)

// Use implements container.Volumes. A volume is fresh while it is empty.
func (m *Manager) Use(_ context.Context, name, driver string, opts, labels map[string]string, containerID string) (container.VolumeMount, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, err := m.ensure(name, driver, opts, labels, containerID)
	if err != nil {
		return container.VolumeMount{}, err
	}
	path := m.path(rec.Name)
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) { // removed behind our back
		err = os.MkdirAll(path, 0o755) //nolint:gosec // containers' users enter it
	}
	if err != nil {
		return container.VolumeMount{}, fmt.Errorf("volume %s: use: %w", rec.Name, err)
	}
	return container.VolumeMount{Name: rec.Name, Driver: Local, Path: path, Fresh: len(entries) == 0}, nil
}

// Release implements container.Volumes in one transaction, none when the
// container uses no volume.
func (m *Manager) Release(_ context.Context, containerID string, removeAnonymous bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keep, drop []record
	for _, rec := range m.all {
		if !slices.Contains(rec.Users, containerID) {
			continue
		}
		rec.Users = slices.DeleteFunc(slices.Clone(rec.Users), func(u string) bool { return u == containerID })
		if removeAnonymous && rec.anonymous() && len(rec.Users) == 0 {
			drop = append(drop, rec)
		} else {
			keep = append(keep, rec)
		}
	}
	if len(keep)+len(drop) == 0 {
		return nil
	}
	err := m.cfg.Store.Update(func(tx *store.Tx) (err error) {
		for _, r := range keep {
			err = errors.Join(err, m.table.Put(tx, r.Name, r))
		}
		for _, r := range drop {
			err = errors.Join(err, m.table.Delete(tx, r.Name))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("volumes of container %s: release: %w", containerID, err)
	}
	for _, r := range keep {
		m.all[r.Name] = r
	}
	return m.erase(drop)
}

// erase removes directories of volumes whose records are gone. It is called
// with mu held.
func (m *Manager) erase(drop []record) (err error) {
	for _, r := range drop {
		delete(m.all, r.Name)
		if e := os.RemoveAll(m.dir(r.Name)); e != nil {
			err = errors.Join(err, fmt.Errorf("volume %s: remove: %w", r.Name, e))
		}
		m.publish(r, events.ActionDestroy)
	}
	return err
}

// Collect ends the uses by containers that no longer exist, and removes
// directories without a record. It is called before the API opens.
func (m *Manager) Collect(ctx context.Context, alive func(containerID string) bool) error {
	m.mu.Lock()
	gone := map[string]bool{}
	for _, rec := range m.all {
		for _, u := range rec.Users {
			if !alive(u) {
				gone[u] = true
			}
		}
	}
	m.mu.Unlock()
	var err error
	for id := range gone {
		// A container that was never recorded leaves nothing of value.
		err = errors.Join(err, m.Release(ctx, id, true))
	}
	return err
}

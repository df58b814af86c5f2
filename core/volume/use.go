package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	trash, err := m.release(containerID, removeAnonymous)
	return errors.Join(err, sweep(trash))
}

func (m *Manager) release(containerID string, removeAnonymous bool) (trash []string, err error) {
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
		return nil, nil
	}
	err = m.cfg.Store.Update(func(tx *store.Tx) (err error) {
		for _, r := range keep {
			err = errors.Join(err, m.table.Put(tx, r.Name, r))
		}
		for _, r := range drop {
			err = errors.Join(err, m.table.Delete(tx, r.Name))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("volumes of container %s: release: %w", containerID, err)
	}
	for _, r := range keep {
		m.all[r.Name] = r
	}
	return m.erase(drop)
}

// trashPrefix begins the names of directories that are being removed. No
// volume's name begins with a dot.
const trashPrefix = ".trash-"

// erase moves the directories of volumes whose records are gone out of the
// way. It is called with mu held; sweep does the long part without it.
func (m *Manager) erase(drop []record) (trash []string, err error) {
	for _, r := range drop {
		delete(m.all, r.Name)
		aside := m.dir(trashPrefix + anonymousName())
		switch e := os.Rename(m.dir(r.Name), aside); {
		case e == nil:
			trash = append(trash, aside)
		case !errors.Is(e, fs.ErrNotExist):
			err = errors.Join(err, fmt.Errorf("volume %s: remove: %w", r.Name, e))
		}
		m.publish(r, events.ActionDestroy)
	}
	return trash, err
}

func sweep(trash []string) (err error) {
	for _, dir := range trash {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// sweepOld removes what a former daemon did not get to remove.
func (m *Manager) sweepOld() error {
	trash, err := filepath.Glob(m.dir(trashPrefix + "*"))
	return errors.Join(err, sweep(trash))
}

// Collect ends the uses by containers that no longer exist and completes
// removals. A directory without a record is left alone: it may hold what its
// owner wants. It is called before the API opens.
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
	err := m.sweepOld()
	for id := range gone {
		// A container that was never recorded leaves nothing of value.
		err = errors.Join(err, m.Release(ctx, id, true))
	}
	return err
}

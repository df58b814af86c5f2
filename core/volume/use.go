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

	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/sdk/mishap"
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
		err = m.mkdir(rec.Name)
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
	trash, err = m.erase(drop, keep)
	if err != nil {
		return nil, fmt.Errorf("volumes of container %s: release: %w", containerID, err)
	}
	return trash, nil
}

// trashPrefix begins the names of directories that are being removed, then come
// digits and the volume's name. No volume's name begins with a dot.
const trashPrefix = ".trash-"

// trashName is new for each removal, as one of the same volume may be under way.
func trashName(volume string) string { return trashPrefix + anonymousName() + "-" + volume }

// ofTrash is the volume whose directory was moved away.
func ofTrash(dir string) string {
	_, volume, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), trashPrefix), "-")
	return volume
}

// erase removes the records of some volumes and changes those of others, in one
// transaction. The directories are moved out of the way before, durably: a
// directory without a record would stay for ever, and its content would come
// back with the next volume of that name. A record without its directory is
// removed by Collect, should the daemon die in between. erase is called with mu
// held; sweep does the long part without it.
func (m *Manager) erase(drop, keep []record) (trash []string, err error) {
	trash, err = m.moveAway(drop)
	if err == nil {
		err = m.cfg.Store.Update(func(tx *store.Tx) (err error) {
			for _, r := range keep {
				err = errors.Join(err, m.table.Put(tx, r.Name, r))
			}
			for _, r := range drop {
				err = errors.Join(err, m.table.Delete(tx, r.Name))
			}
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, m.moveBack(trash))
	}
	for _, r := range keep {
		m.all[r.Name] = r
	}
	for _, r := range drop {
		delete(m.all, r.Name)
		m.publish(r, events.ActionDestroy)
	}
	return trash, nil
}

func (m *Manager) moveAway(drop []record) (trash []string, err error) {
	for _, r := range drop {
		aside := m.dir(trashName(r.Name))
		switch err := os.Rename(m.dir(r.Name), aside); {
		case err == nil:
			trash = append(trash, aside)
		case !errors.Is(err, fs.ErrNotExist):
			return trash, fmt.Errorf("volume %s: remove: %w", r.Name, err)
		}
	}
	if len(trash) > 0 {
		err = syncDir(m.cfg.Dir)
	}
	mishap.Hit(mishap.VolumeAside)
	return trash, err
}

func (m *Manager) moveBack(trash []string) (err error) {
	for _, t := range trash {
		err = errors.Join(err, os.Rename(t, m.dir(ofTrash(t))))
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func sweep(trash []string) (err error) {
	for _, dir := range trash {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// sweepOld completes what a former daemon did not get to complete.
func (m *Manager) sweepOld() error {
	trash, err := filepath.Glob(m.dir(trashPrefix + "*"))
	if err != nil {
		return err
	}
	if err := m.forgetMoved(trash); err != nil {
		return err
	}
	return errors.Join(sweep(trash), m.sweepEmpty())
}

// forgetMoved removes the records of volumes whose directories were moved away.
func (m *Manager) forgetMoved(trash []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var drop []record
	for _, t := range trash {
		rec, ok := m.all[ofTrash(t)]
		if _, err := os.Lstat(m.dir(rec.Name)); ok && errors.Is(err, fs.ErrNotExist) {
			drop = append(drop, rec)
		}
	}
	if len(drop) == 0 {
		return nil
	}
	_, err := m.erase(drop, nil)
	return err
}

// sweepEmpty removes the directory of a volume that never got its record.
func (m *Manager) sweepEmpty() error {
	entries, err := os.ReadDir(m.cfg.Dir)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		if _, known := m.all[e.Name()]; known || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		for _, dir := range []string{m.path(e.Name()), m.dir(e.Name())} {
			if e := unix.Rmdir(dir); e != nil && !errors.Is(e, unix.ENOTEMPTY) && !errors.Is(e, unix.ENOENT) && !errors.Is(e, unix.ENOTDIR) {
				err = errors.Join(err, fmt.Errorf("volumes: remove empty directory %s: %w", dir, e))
			}
		}
	}
	return err
}

// Collect ends the uses by containers that no longer exist and completes
// removals. A directory without a record is left alone unless it is empty: it
// may hold what its owner wants. It is called before the API opens.
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

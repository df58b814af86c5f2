package container

import (
	"context"
	"errors"
	"os"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

// collect removes what belongs to no container: runtime leftovers and
// directories. Snapshots are collected with the images', by Keep.
func (m *Manager) collect(ctx context.Context) (err error) {
	keep := map[string][]runtime.ContainerID{"": nil}
	known := map[string]bool{}
	for _, u := range m.all() {
		r := u.get()
		known[r.ID] = true
		if alive(r.Run.Status) {
			keep[r.RuntimeDriver] = append(keep[r.RuntimeDriver], runtime.ContainerID(r.ID))
		} else if _, ok := keep[r.RuntimeDriver]; !ok {
			keep[r.RuntimeDriver] = nil
		}
	}
	err = m.collectRuntimes(ctx, keep)
	entries, readErr := os.ReadDir(m.dir(""))
	err = errors.Join(err, readErr)
	for _, e := range entries {
		if !known[e.Name()] {
			err = errors.Join(err, os.RemoveAll(m.dir(e.Name())))
		}
	}
	return err
}

// collectRuntimes joins names that lead to one driver: it must hear of all
// its containers at once.
func (m *Manager) collectRuntimes(ctx context.Context, keep map[string][]runtime.ContainerID) (err error) {
	byDriver := map[string][]runtime.ContainerID{}
	drivers := map[string]runtime.Driver{}
	for name, ids := range keep {
		d, driverName, _, lookupErr := m.cfg.Drivers.Runtime(name)
		if lookupErr != nil {
			err = errors.Join(err, lookupErr)
			continue
		}
		drivers[driverName] = d
		byDriver[driverName] = append(byDriver[driverName], ids...)
	}
	for name, d := range drivers {
		ctx, cancel := context.WithTimeout(ctx, driverTimeout)
		collectErr := d.Collect(ctx, byDriver[name])
		cancel()
		m.mu.Lock()
		m.uncollected[name] = collectErr != nil
		m.mu.Unlock()
		err = errors.Join(err, collectErr)
	}
	return err
}

// collectLate does what a runtime driver that was not there could not do when
// the daemon started. No call but this reaches the driver meanwhile: what it has
// not yet been asked to make needs no protection, but what an operation that is
// under way had made by the former process does.
func (m *Manager) collectLate(ctx context.Context, driverName string) error {
	m.mu.RLock()
	late := m.uncollected[driverName]
	m.mu.RUnlock()
	if !late {
		return nil
	}
	keep := map[string][]runtime.ContainerID{driverName: nil}
	for _, u := range m.all() {
		if len(u.lock) > 0 || alive(u.get().Run.Status) {
			keep[driverName] = append(keep[driverName], runtime.ContainerID(u.id))
		}
	}
	return m.collectRuntimes(ctx, keep)
}

// Snapshots are the storage keys that containers need. They are not to be
// collected.
func (m *Manager) Snapshots() []storage.SnapshotKey {
	var out []storage.SnapshotKey
	for _, u := range m.all() {
		r := u.get()
		out = append(out, r.snapshotKey())
		if r.Chain != "" {
			out = append(out, r.Chain)
		}
	}
	return out
}

// Exists says whether there is a container of this id.
func (m *Manager) Exists(id string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.units[id]
	return ok
}

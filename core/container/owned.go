package container

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
)

// ownHandle refuses a handle of the runtime driver's that another container has
// already: handed back, it would have the driver take one for the other.
func (m *Manager) ownHandle(u *unit, driverName string, h driver.Handle) error {
	if len(h.State) == 0 {
		return nil
	}
	for _, x := range m.all() {
		have, ok := x.handle()
		if ok && x != u && bytes.Equal(have.State, h.State) && x.get().RuntimeDriver == driverName {
			return refuse(errdefs.ErrInternal, "container %s: runtime driver %q: Create: wrong answer: the handle is that of container %s", short(u.id), driverName, short(x.id))
		}
	}
	return nil
}

// ownRoot has a container own the directories that are written to in its root, and
// refuses a root of which another container owns a part: they would write over each
// other, and the removal of one would take the other's files. It returns what is to
// be recorded, for the next daemon.
func (m *Manager) ownRoot(id string, mounts []mount.Mount) (root []string, err error) {
	var written, all []string
	for _, x := range mounts {
		w, r := mount.Dirs(x)
		written, all = append(written, w...), append(append(all, w...), r...)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if dir, owner, taken := m.takenFrom(id, written, all); taken {
		return nil, refuse(errdefs.ErrInternal, "container %s: storage driver %q: wrong answer: a mount of %s, which belongs to container %s", short(id), m.cfg.StorageDriver, dir, short(owner))
	}
	m.forgetRoot(id)
	for _, dir := range written {
		m.owners[dir] = id
	}
	m.owned[id] = written
	return written, nil
}

// takenFrom looks for a directory that is, or is in, another container's; of those
// that are written to, also for one that another's is in. It is called with mu held.
func (m *Manager) takenFrom(id string, written, all []string) (dir, owner string, taken bool) {
	for _, dir := range all {
		for up := dir; len(up) > 1; up = filepath.Dir(up) {
			if owner, ok := m.owners[up]; ok && owner != id {
				return dir, owner, true
			}
		}
	}
	for have, owner := range m.owners {
		if owner != id && slices.ContainsFunc(written, func(dir string) bool { return strings.HasPrefix(have, strings.TrimSuffix(dir, "/")+"/") }) {
			return have, owner, true
		}
	}
	return "", "", false
}

// disown is called before a container's root is removed: from then on the driver may
// use the directories for another one.
func (m *Manager) disown(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetRoot(id)
}

// forgetRoot is called with mu held.
func (m *Manager) forgetRoot(id string) {
	for _, dir := range m.owned[id] {
		delete(m.owners, dir)
	}
	delete(m.owned, id)
}

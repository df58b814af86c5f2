package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

// StorageCases are the demands of the storage contract. They mount what the
// driver hands out, in mount namespaces that nobody else sees, and need root.
// They must not run in parallel, since some ask for all snapshots, and the
// driver should have none of anybody else's.
func StorageCases(s Subject[storage.Driver]) []Case {
	var all []Case
	for _, group := range [][]storageCase{
		snapshotCases(), commitCases(), removeCases(), listCases(),
		layerCases(), whiteoutCases(), hostileLayerCases(), diffCases(), storageCrashCases(),
	} {
		for _, c := range group {
			all = append(all, Case{Name: c.name, Run: func(t *T) { c.run(newStorageLab(t, s)) }})
		}
	}
	return all
}

type storageCase struct {
	name string
	run  func(l *storageLab)
}

// storageLab is one case's driver.
type storageLab struct {
	*T
	subject Subject[storage.Driver]
	d       storage.Driver
	info    driver.Info
	serial  int
	room    *mountRoom
}

func newStorageLab(t *T, s Subject[storage.Driver]) *storageLab {
	l := &storageLab{T: t, subject: s, d: s.Driver()}
	var err error
	l.info, err = l.d.Info(t.ctx)
	t.NoError(err, "info")
	t.Cleanup(l.clear)
	l.room, err = newMountRoom()
	t.NoError(err, "make a mount namespace")
	t.Cleanup(l.room.leave)
	return l
}

// clear removes all snapshots, children first.
func (l *storageLab) clear() {
	ctx := context.WithoutCancel(l.ctx)
	d := l.subject.Driver()
	list, err := d.List(ctx)
	if err != nil {
		l.Errorf("clean up: list: %w", err)
	}
	for _, s := range slices.Backward(list) {
		if err := d.Remove(ctx, s.Key); err != nil {
			l.Errorf("clean up: remove %s: %w", s.Key, err)
		}
	}
}

// crash kills the driver, if it can be killed.
func (l *storageLab) crash() { l.d = l.subject.Crash(l.T) }

func (l *storageLab) has(c driver.Capability) bool { return slices.Contains(l.info.Capabilities, c) }

// applier returns the driver's Apply, or ends the case.
func (l *storageLab) applier() storage.Applier {
	if !l.has(storage.CapApply) {
		l.Skipf("the driver does not declare %s", storage.CapApply)
	}
	a, ok := l.d.(storage.Applier)
	if !ok {
		l.Fatalf("the driver declares %s but does not implement it", storage.CapApply)
	}
	return a
}

func (l *storageLab) prepare(key, parent storage.SnapshotKey) []mount.Mount {
	m, err := l.d.Prepare(l.ctx, key, parent, storage.PrepareOptions{})
	l.NoError(err, "prepare "+string(key))
	return m
}

func (l *storageLab) view(key, parent storage.SnapshotKey) []mount.Mount {
	m, err := l.d.View(l.ctx, key, parent, storage.PrepareOptions{})
	l.NoError(err, "view "+string(key))
	return m
}

func (l *storageLab) commit(name, key storage.SnapshotKey) {
	l.NoError(l.d.Commit(l.ctx, name, key, storage.CommitOptions{}), "commit "+string(name))
}

// fresh returns a key that the case did not use yet.
func (l *storageLab) fresh(prefix string) storage.SnapshotKey {
	l.serial++
	return storage.SnapshotKey(fmt.Sprintf("%s-%d", prefix, l.serial))
}

// layer commits a layer called name over parent, by Apply where the driver has
// it and through the mounts where it has not.
func (l *storageLab) layer(name, parent storage.SnapshotKey, tar []byte) {
	l.NoError(l.tryLayer(name, parent, tar), "layer "+string(name))
}

func (l *storageLab) tryLayer(name, parent storage.SnapshotKey, tar []byte) error {
	key := l.fresh("extract")
	if l.has(storage.CapApply) {
		l.prepare(key, "")
		if _, err := l.applier().Apply(l.ctx, key, bytes.NewReader(tar)); err != nil {
			return errors.Join(err, l.d.Remove(l.ctx, key))
		}
		return l.d.Commit(l.ctx, name, key, storage.CommitOptions{Parent: parent})
	}
	mounts := l.prepare(key, parent)
	err := l.room.mounted(mounts, func(root string) error {
		_, err := archive.Unpack(l.ctx, root, bytes.NewReader(tar), archive.Options{Whiteouts: archive.Delete})
		return err
	})
	if err != nil {
		return errors.Join(err, l.d.Remove(l.ctx, key))
	}
	return l.d.Commit(l.ctx, name, key, storage.CommitOptions{})
}

// inside calls f with the root of mounts.
func (l *storageLab) inside(mounts []mount.Mount, f func(root string) error) {
	l.NoError(l.room.mounted(mounts, f), "in the mounted snapshot")
}

// look calls f with the root of a view of committed snapshot key.
func (l *storageLab) look(key storage.SnapshotKey, f func(root string) error) {
	v := l.fresh("view")
	l.inside(l.view(v, key), f)
	l.NoError(l.d.Remove(l.ctx, v), "remove the view")
}

// write makes a file with its parents, and read reads one.
func write(root, name, text string) error {
	path := root + "/" + name
	if err := os.MkdirAll(path[:lastSlash(path)], 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

func lastSlash(path string) int { return bytes.LastIndexByte([]byte(path), '/') }

// want reports an error unless the file holds the text.
func want(root, name, text string) error {
	b, err := os.ReadFile(root + "/" + name)
	if err != nil {
		return err
	}
	if string(b) != text {
		return fmt.Errorf("%s holds %.100q, want %.100q", name, b, text)
	}
	return nil
}

// wantAbsent reports an error when the name exists.
func wantAbsent(root, name string) error {
	_, err := os.Lstat(root + "/" + name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(fmt.Errorf("%s exists", name), err)
}

// mountRoom is a thread in a mount namespace of its own: nobody sees its
// mounts, and they end with it.
type mountRoom struct{ work chan func() }

func newMountRoom() (*mountRoom, error) {
	r := &mountRoom{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		ready <- err
		for f := range r.work {
			f()
		}
	}()
	err := <-ready
	if err != nil {
		r.leave()
	}
	return r, err
}

func (r *mountRoom) leave() { close(r.work) }

// mounted calls f in the room with the root of mounts.
func (r *mountRoom) mounted(mounts []mount.Mount, f func(root string) error) error {
	done := make(chan error)
	r.work <- func() { done <- aside(mounts, f) }
	return <-done
}

func aside(mounts []mount.Mount, f func(root string) error) (err error) {
	dir, err := os.MkdirTemp("", "strake-conformance-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	return mount.With(mounts, dir, f)
}

// mounted is for callers that run side by side.
func mounted(mounts []mount.Mount, f func(root string) error) error {
	r, err := newMountRoom()
	if err != nil {
		return err
	}
	defer r.leave()
	return r.mounted(mounts, f)
}

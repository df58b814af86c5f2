package overlay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

// Prepare makes a writable snapshot.
func (d *Driver) Prepare(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return d.make(ctx, record{Key: key, Parent: parent, Kind: storage.Active, Labels: o.Labels}, o.SizeLimit)
}

// View makes a read-only snapshot.
func (d *Driver) View(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return d.make(ctx, record{Key: key, Parent: parent, Kind: storage.View, Labels: o.Labels}, o.SizeLimit)
}

func (d *Driver) make(ctx context.Context, r record, limit int64) ([]mount.Mount, error) {
	s, err := d.use()
	if err != nil {
		return nil, err
	}
	if err := r.Key.Validate(); err != nil {
		return nil, err
	}
	if limit != 0 {
		return nil, fmt.Errorf("snapshot %s: size limit: %w: driver %s has no quotas", r.Key, errdefs.ErrNotImplemented, Name)
	}
	unlock, err := s.keys.lock(ctx, r.Key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s.reaper.yield()
	e, err := s.get(r.Key)
	if err == nil {
		if e.Kind != r.Kind || e.Parent != r.Parent || !maps.Equal(e.Labels, r.Labels) {
			return nil, fmt.Errorf("snapshot %s: %w: it is %s, over parent %q", r.Key, errdefs.ErrAlreadyExists, e.Kind, e.Parent)
		}
		return s.mounts(e)
	}
	if e, err = s.create(ctx, r); err != nil {
		return nil, fmt.Errorf("snapshot %s: make: %w", r.Key, err)
	}
	return s.mounts(e)
}

// create makes a snapshot on disk and adds it to the index.
func (s *store) create(ctx context.Context, r record) (_ snapshot, err error) {
	if err := s.hold(r.Parent); err != nil {
		return snapshot{}, err
	}
	defer func() {
		if err != nil {
			s.release(r.Parent)
		}
	}()
	chain, err := s.chain(r.Parent)
	if err != nil {
		return snapshot{}, err
	}
	r.Version, r.Created = recordVersion, time.Now()
	e := snapshot{record: r, n: s.number()}
	defer s.made(e.n)
	if err := s.build(ctx, e, chain); err != nil {
		return snapshot{}, err
	}
	s.put(&e)
	return e, nil
}

// build makes the directory of a snapshot aside, then gives it its name.
func (s *store) build(ctx context.Context, e snapshot, chain []string) error {
	aside := filepath.Join(s.root, "snapshots", newPrefix+strconv.FormatUint(e.n, 10))
	err := fill(ctx, aside, e.record, chain)
	if err == nil {
		mishap.Hit(mishap.SnapshotFilled)
		err = os.Rename(aside, s.path(e.n))
		mishap.Hit(mishap.SnapshotNamed)
	}
	if err != nil {
		return errors.Join(err, s.abandon(aside, e.n))
	}
	return nil
}

// abandon removes what was made of a snapshot. What cannot be removed now, for
// want of descriptors, say, goes to the trash, which is tried again.
func (s *store) abandon(aside string, n uint64) error {
	err := os.RemoveAll(aside)
	if err == nil {
		return nil
	}
	if moved := os.Rename(aside, filepath.Join(s.root, "trash", strconv.FormatUint(n, 10))); moved != nil {
		return errors.Join(err, moved)
	}
	s.reaper.wake()
	return nil
}

func fill(ctx context.Context, dir string, r record, chain []string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if r.Kind == storage.Active || r.Parent == "" {
		if err := os.Mkdir(dir+"/fs", 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir+"/fs", 0o755); err != nil { // whatever the umask
			return err
		}
	}
	if r.Kind == storage.Active && r.Parent != "" {
		if err := os.Mkdir(dir+"/work", 0o700); err != nil {
			return err
		}
		// the merged root has the attributes of the upper directory
		if err := archive.Settle(ctx, dir+"/fs", chain[:1], archive.Pending{Implicit: []string{"."}}); err != nil {
			return err
		}
	}
	return r.write(dir)
}

// Mounts returns the mounts of a snapshot again.
func (d *Driver) Mounts(_ context.Context, key storage.SnapshotKey) ([]mount.Mount, error) {
	s, err := d.use()
	if err != nil {
		return nil, err
	}
	e, err := s.get(key)
	if err != nil {
		return nil, err
	}
	if e.Kind == storage.Committed {
		return nil, fmt.Errorf("snapshot %s: mounts: %w: it is committed, make a view of it", key, errdefs.ErrFailedPrecondition)
	}
	return s.mounts(e)
}

// Remove forgets a snapshot; its files are deleted in the background.
func (d *Driver) Remove(ctx context.Context, key storage.SnapshotKey) error {
	s, err := d.use()
	if err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	err = s.remove(key)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// remove takes a snapshot out of the index and off the disk. Its key is locked.
func (s *store) remove(key storage.SnapshotKey) error {
	s.mu.Lock()
	e, ok := s.byKey[key]
	if !ok {
		s.mu.Unlock()
		return notFound(key)
	}
	if e.children > 0 {
		s.mu.Unlock()
		return fmt.Errorf("snapshot %s: remove: %w: it is the parent of %d others, remove them first", key, errdefs.ErrFailedPrecondition, e.children)
	}
	delete(s.byKey, key)
	s.mu.Unlock()
	if err := s.discard(e.n); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.byKey[key] = e
		return fmt.Errorf("snapshot %s: remove: %w", key, err)
	}
	s.release(e.Parent)
	s.reaper.wake()
	return nil
}

// Stat returns a snapshot's record.
func (d *Driver) Stat(_ context.Context, key storage.SnapshotKey) (storage.Snapshot, error) {
	s, err := d.use()
	if err != nil {
		return storage.Snapshot{}, err
	}
	e, err := s.get(key)
	if err != nil {
		return storage.Snapshot{}, err
	}
	return e.snapshot(), nil
}

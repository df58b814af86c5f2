package overlay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/storage"
)

// Commit makes active snapshot key the committed one called name.
func (d *Driver) Commit(ctx context.Context, name, key storage.SnapshotKey, o storage.CommitOptions) error {
	s, err := d.use()
	if err != nil {
		return err
	}
	if err := name.Validate(); err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, name, key)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.commit(ctx, name, key, o); err != nil {
		return fmt.Errorf("snapshot %s: commit as %s: %w", key, name, err)
	}
	return nil
}

func (s *store) commit(ctx context.Context, name, key storage.SnapshotKey, o storage.CommitOptions) error {
	e, err := s.get(key)
	done, nameErr := s.get(name)
	switch {
	case err != nil && nameErr == nil && done.Kind == storage.Committed && (o.Parent == "" || o.Parent == done.Parent):
		return nil // repeated
	case err != nil:
		return err
	case e.Kind != storage.Active:
		return fmt.Errorf("%w: it is %s, only active snapshots are committed", errdefs.ErrFailedPrecondition, e.Kind)
	case e.Parent != "" && o.Parent != "" && e.Parent != o.Parent:
		return fmt.Errorf("parent %s: %w: it was prepared over %s", o.Parent, errdefs.ErrInvalidArgument, e.Parent)
	}
	parent := e.Parent
	if parent == "" {
		parent = o.Parent
	}
	if nameErr == nil {
		if done.Kind != storage.Committed || done.Parent != parent {
			return fmt.Errorf("%w: %s is %s, over parent %q", errdefs.ErrAlreadyExists, name, done.Kind, done.Parent)
		}
		return s.remove(key)
	}
	if e.Parent != "" {
		return s.seal(ctx, e, name, o)
	}
	if err := s.hold(parent); err != nil {
		return err
	}
	e.Parent = parent
	if err := s.seal(ctx, e, name, o); err != nil {
		s.release(parent)
		return err
	}
	return nil
}

// seal turns active snapshot e, its parent now known and held, into name.
func (s *store) seal(ctx context.Context, e snapshot, name storage.SnapshotKey, o storage.CommitOptions) error {
	key := e.Key
	dir := s.path(e.n)
	if err := s.settle(ctx, e); err != nil {
		return err
	}
	mishap.Hit(mishap.SnapshotSettled)
	var err error
	if e.Opaque, err = isOpaque(dir + "/fs"); err != nil {
		return err
	}
	e.Key, e.Kind, e.Created, e.Boot = name, storage.Committed, time.Now(), s.boot
	e.Labels = maps.Clone(e.Labels)
	if len(o.Labels) > 0 {
		e.Labels = o.Labels
	}
	s.commits.RLock()
	defer s.commits.RUnlock()
	s.mu.Lock()
	s.seq++
	e.Seq = s.seq
	s.mu.Unlock()
	if err := e.write(dir); err != nil {
		return err
	}
	mishap.Hit(mishap.SnapshotCommitted)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, key)
	s.byKey[name] = &e
	return nil
}

// settle finishes the layer that Apply unpacked, its parent now known.
func (s *store) settle(ctx context.Context, e snapshot) error {
	p, err := readPending(s.path(e.n))
	if err != nil || p.Empty() {
		return err
	}
	chain, err := s.chain(e.Parent)
	if err != nil {
		return err
	}
	return archive.Settle(ctx, s.fs(e.n), chain, p)
}

func isOpaque(dir string) (bool, error) {
	var b [1]byte
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", b[:])
	if errors.Is(err, unix.ENODATA) {
		return false, nil
	}
	return n == 1 && b[0] == 'y', err
}

// Sync makes all that was committed durable.
func (d *Driver) Sync(context.Context) error {
	s, err := d.use()
	if err != nil {
		return err
	}
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.commits.Lock() // no commit has a number but no record now
	s.mu.Lock()
	seq, synced := s.seq, s.synced
	s.mu.Unlock()
	s.commits.Unlock()
	if seq == synced {
		return nil
	}
	if err := unix.Syncfs(int(s.dir.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", s.root, err)
	}
	mishap.Hit(mishap.SnapshotsSynced)
	if err := s.writeSynced(seq); err != nil {
		return fmt.Errorf("sync %s: %w", s.root, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = seq
	return nil
}

// writeSynced notes durably that commits up to seq are durable.
func (s *store) writeSynced(seq uint64) error {
	aside := filepath.Join(s.root, "synced.new")
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(strconv.FormatUint(seq, 10), aside); err != nil {
		return err
	}
	if err := os.Rename(aside, filepath.Join(s.root, "synced")); err != nil {
		return err
	}
	return s.dir.Sync()
}

func (s *store) readSynced() (uint64, error) {
	text, err := os.Readlink(filepath.Join(s.root, "synced"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s/synced: %w", s.root, err)
	}
	return seq, nil
}

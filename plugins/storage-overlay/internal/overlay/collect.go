package overlay

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/storage"
)

// List returns all snapshots, parents before children.
func (d *Driver) List(context.Context) ([]storage.Snapshot, error) {
	s, err := d.use()
	if err != nil {
		return nil, err
	}
	entries := s.sorted()
	list := make([]storage.Snapshot, 0, len(entries))
	for _, e := range entries {
		list = append(list, e.snapshot())
	}
	return list, nil
}

// sorted returns copies of all entries, parents before children, and otherwise
// in the order in which they were made.
func (s *store) sorted() []snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	depth := make(map[storage.SnapshotKey]int, len(s.byKey))
	all := make([]snapshot, 0, len(s.byKey))
	for _, e := range s.byKey {
		all = append(all, *e)
		s.depth(e.Key, depth)
	}
	slices.SortFunc(all, func(a, b snapshot) int {
		return cmp.Or(cmp.Compare(depth[a.Key], depth[b.Key]), cmp.Compare(a.n, b.n))
	})
	return all
}

// depth counts the ancestors of key. The caller holds mu.
func (s *store) depth(key storage.SnapshotKey, known map[storage.SnapshotKey]int) int {
	e, ok := s.byKey[key]
	if !ok {
		return 0
	}
	if n, ok := known[key]; ok {
		return n
	}
	known[key] = 1 + s.depth(e.Parent, known)
	return known[key]
}

// Collect removes what is not kept. Snapshots made after the call began stay.
func (d *Driver) Collect(ctx context.Context, keep []storage.SnapshotKey) ([]storage.SnapshotKey, error) {
	s, err := d.use()
	if err != nil {
		return nil, err
	}
	// the directories first: one made meanwhile is in the index afterwards
	// or not among them
	dirs, err := os.ReadDir(filepath.Join(s.root, "snapshots"))
	if err != nil {
		return nil, err
	}
	all := s.sorted()
	kept := ancestry(all, keep)
	var removed []storage.SnapshotKey
	var errs []error
	for _, e := range slices.Backward(all) { // children before parents
		if kept[e.Key] {
			continue
		}
		gone, err := s.collectOne(ctx, e)
		if gone {
			removed = append(removed, e.Key)
		}
		errs = append(errs, err)
	}
	errs = append(errs, s.orphans(dirs))
	s.reaper.wake()
	return removed, errors.Join(errs...)
}

// ancestry returns the keys to keep with all that they stand on.
func ancestry(all []snapshot, keep []storage.SnapshotKey) map[storage.SnapshotKey]bool {
	kept := make(map[storage.SnapshotKey]bool, len(keep))
	for _, key := range keep {
		kept[key] = true
	}
	for _, e := range slices.Backward(all) {
		if kept[e.Key] {
			kept[e.Parent] = true
		}
	}
	return kept
}

// collectOne removes e unless it changed since it was listed.
func (s *store) collectOne(ctx context.Context, e snapshot) (gone bool, err error) {
	unlock, err := s.keys.lock(ctx, e.Key)
	if err != nil {
		return false, err
	}
	defer unlock()
	now, err := s.get(e.Key)
	if errdefs.IsNotFound(err) || now.n != e.n {
		return false, nil // gone, or another one by now
	}
	err = s.remove(e.Key)
	if errdefs.IsFailedPrecondition(err) {
		return false, nil // it became a parent meanwhile
	}
	return err == nil, err
}

// orphans moves those of the directories that belong to no snapshot to the
// trash.
func (s *store) orphans(dirs []os.DirEntry) error {
	known := s.directories()
	var errs []error
	for _, dir := range dirs {
		name := dir.Name()
		if known[strings.TrimPrefix(name, newPrefix)] {
			continue
		}
		path := filepath.Join(s.root, "snapshots", name)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue // a snapshot, removed meanwhile
		}
		s.log.Info("removing a directory that belongs to no snapshot", "dir", path)
		n := s.number()
		err := os.Rename(path, filepath.Join(s.root, "trash", strconv.FormatUint(n, 10)))
		s.made(n)
		if !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// directories returns the names of those that belong to a snapshot, or to one
// that is being made.
func (s *store) directories() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]bool, len(s.byKey)+len(s.making))
	for _, e := range s.byKey {
		known[strconv.FormatUint(e.n, 10)] = true
	}
	for n := range s.making {
		known[strconv.FormatUint(n, 10)] = true
	}
	return known
}

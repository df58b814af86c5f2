package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/storage"
)

// newPrefix begins the name of a snapshot directory that is being made.
const newPrefix = ".new-"

// load rebuilds the index from the disk, and removes what a former process
// left half made.
func (s *store) load() error {
	if err := s.sweep(); err != nil {
		return err
	}
	var err error
	if s.synced, err = s.readSynced(); err != nil {
		return err
	}
	s.seq = s.synced
	entries, err := os.ReadDir(filepath.Join(s.root, "snapshots"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.loadOne(e.Name()); err != nil {
			return fmt.Errorf("snapshot directory %s: %w", e.Name(), err)
		}
	}
	if err := s.highestTrash(); err != nil {
		return err
	}
	return s.dropLost()
}

// sweep removes what only lives for a moment.
func (s *store) sweep() error {
	for _, pattern := range []string{".probe-*", "synced.new", "snapshots/" + newPrefix + "*"} {
		left, err := filepath.Glob(filepath.Join(escapeGlob(s.root), pattern))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func (s *store) loadOne(name string) error {
	n, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return nil //nolint:nilerr // not ours; Collect removes it
	}
	s.next = max(s.next, n)
	r, err := readRecord(s.path(n))
	if err != nil {
		s.log.Error("a snapshot's record cannot be read; it is left to garbage collection", "dir", s.path(n), "err", err)
		return nil
	}
	if r.Version > recordVersion {
		return fmt.Errorf("record version %d: %w: a newer driver wrote it, and this one reads up to %d", r.Version, errdefs.ErrFailedPrecondition, recordVersion)
	}
	s.seq = max(s.seq, r.Seq)
	if r.Kind == storage.Committed && r.Seq > s.synced && r.Boot != s.boot {
		s.log.Warn("a layer was not on disk yet when the machine went down; it is dropped", "snapshot", r.Key)
		return s.discard(n)
	}
	if old, ok := s.byKey[r.Key]; ok {
		s.log.Warn("two directories for one snapshot; the older is dropped", "snapshot", r.Key)
		if old.n > n {
			return s.discard(n)
		}
		if err := s.discard(old.n); err != nil {
			return err
		}
	}
	s.byKey[r.Key] = &snapshot{record: r, n: n}
	return nil
}

// highestTrash keeps numbers unique among snapshots and trash.
func (s *store) highestTrash() error {
	entries, err := os.ReadDir(filepath.Join(s.root, "trash"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
			s.next = max(s.next, n)
		}
	}
	return nil
}

// dropLost takes snapshots whose parent is gone out of the index, again and
// again since they may be parents themselves, and counts the others' children.
// What is dropped stays on disk until Collect.
func (s *store) dropLost() error {
	for dropped := true; dropped; {
		dropped = false
		for key, e := range s.byKey {
			if _, ok := s.byKey[e.Parent]; ok || e.Parent == "" {
				continue
			}
			s.log.Error("a snapshot's parent is gone; it is left to garbage collection", "snapshot", key, "parent", e.Parent, "dir", s.path(e.n))
			delete(s.byKey, key)
			dropped = true
		}
	}
	for _, e := range s.byKey {
		if p, ok := s.byKey[e.Parent]; ok {
			p.children++
		}
	}
	return nil
}

// discard moves a snapshot's directory to the trash, in one step.
func (s *store) discard(n uint64) error {
	err := os.Rename(s.path(n), filepath.Join(s.root, "trash", strconv.FormatUint(n, 10)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	mishap.Hit(mishap.SnapshotDiscarded)
	return err
}

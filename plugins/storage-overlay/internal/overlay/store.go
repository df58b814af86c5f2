package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/storage"
)

// store holds the snapshots below one root directory.
type store struct {
	log     hclog.Logger
	root    string
	boot    string   // the kernel's boot id
	base    []string // options of every overlay
	unpack  archive.Options
	dir     *os.File // the root, for syncfs
	lock    *os.File
	keys    *keyLocks
	reaper  *reaper
	commits sync.RWMutex // held for reading while a commit's record is written
	syncing sync.Mutex   // one Sync at a time

	mu     sync.Mutex
	byKey  map[storage.SnapshotKey]*snapshot // guarded by mu
	next   uint64                            // guarded by mu: number of the next directory
	making map[uint64]bool                   // guarded by mu: directories not in the index yet
	seq    uint64                            // guarded by mu: number of the last commit
	synced uint64                            // guarded by mu: of the last durable one
}

// snapshot is an entry of the index. Its fields are guarded by the store's mu;
// n never changes, nor does the record but by Commit.
type snapshot struct {
	record
	n        uint64
	children int
	usage    *storage.Usage // of a committed one, once measured
}

// lockWait is how long a driver waits for its predecessor to end.
const lockWait = 10 * time.Second

func openStore(ctx context.Context, o options, log hclog.Logger) (_ *store, err error) {
	if err := makeDirs(o.Root); err != nil {
		return nil, fmt.Errorf("%w: %w", errdefs.ErrFailedPrecondition, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read the boot id: %w", err)
	}
	s := &store{
		log: log, root: o.Root, boot: strings.TrimSpace(string(boot)),
		unpack: archive.Options{Whiteouts: archive.Overlay, MaxSize: o.MaxLayerSize, MaxEntries: o.MaxLayerEntries},
		keys:   newKeyLocks(), byKey: map[storage.SnapshotKey]*snapshot{}, making: map[uint64]bool{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lock, err = lockFile(ctx, filepath.Join(o.Root, "lock")); err != nil {
		return nil, err
	}
	if s.dir, err = os.Open(o.Root); err != nil {
		return nil, err
	}
	if s.base, err = probe(o); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	s.reaper = startReaper(context.WithoutCancel(ctx), filepath.Join(o.Root, "trash"), log.Named("reaper"))
	return s, nil
}

// lockFile takes the state for this process. The predecessor may still be
// dying.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		select {
		case <-ctx.Done():
			err = fmt.Errorf("%s: %w: another process holds the lock: end it first: %w", path, errdefs.ErrFailedPrecondition, err)
			return nil, errors.Join(err, f.Close())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *store) close() error {
	if s.reaper != nil {
		s.reaper.stop()
	}
	var errs []error
	for _, f := range []*os.File{s.dir, s.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *store) path(n uint64) string {
	return filepath.Join(s.root, "snapshots", strconv.FormatUint(n, 10))
}

func (s *store) fs(n uint64) string { return s.path(n) + "/fs" }

// get returns a copy of a snapshot's entry.
func (s *store) get(key storage.SnapshotKey) (snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byKey[key]
	if !ok {
		return snapshot{}, notFound(key)
	}
	return *e, nil
}

func (s *store) put(e *snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byKey[e.Key] = e
}

func notFound(key storage.SnapshotKey) error {
	return fmt.Errorf("snapshot %s: %w", key, errdefs.ErrNotFound)
}

// hold counts a child of parent, which must be committed: it cannot be removed
// until release. An empty parent is none.
func (s *store) hold(parent storage.SnapshotKey) error {
	if parent == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.byKey[parent]
	if !ok {
		return fmt.Errorf("parent: %w", notFound(parent))
	}
	if p.Kind != storage.Committed {
		return fmt.Errorf("parent: snapshot %s: %w: it is %s, commit it first", parent, errdefs.ErrFailedPrecondition, p.Kind)
	}
	p.children++
	return nil
}

func (s *store) release(parent storage.SnapshotKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.byKey[parent]; ok {
		p.children--
	}
}

// number returns the number of a new directory, which Collect spares until
// made.
func (s *store) number() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	s.making[s.next] = true
	return s.next
}

func (s *store) made(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.making, n)
}

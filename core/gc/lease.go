package gc

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/storage"
)

// Roots are what must stay.
type Roots struct {
	Blobs     []digest.Digest       `json:"blobs"`
	Snapshots []storage.SnapshotKey `json:"snapshots"`
	// Temporary snapshots are of no use to another try.
	Temporary []storage.SnapshotKey `json:"-"`
}

// Leases hold what operations under way need before any record names it. Each
// is also a file, so that what a killed daemon had fetched is still there when
// the same pull is tried again. The files are not fsynced: they are of use only
// within one boot.
type Leases struct {
	dir, boot string

	// mu is held during a collection, so a Lease grows before it or after it.
	mu   sync.Mutex
	live map[string]*Lease // guarded by mu
}

// leaseLife is how long an operation that ended unfinished keeps its part, by the
// clock that nobody sets.
const leaseLife = 24 * time.Hour

// Lease belongs to one operation.
type Lease struct {
	all *Leases
	id  string
	rec leaseRecord // guarded by all.mu
}

type leaseRecord struct {
	Name string `json:"name"`
	Boot string `json:"boot"`
	// Began is when, since the boot.
	Began time.Duration `json:"began"`
	Roots

	ended bool // its operation is over, unfinished
}

// sinceBoot is the time since the machine's boot, suspended or not.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0 // impossible: there is that clock since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// OpenLeases reads the leases of the present boot.
func OpenLeases(dir, bootID string) (*Leases, error) {
	l := &Leases{dir: dir, boot: bootID, live: map[string]*Lease{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	for _, f := range files {
		if err := l.load(f); err != nil {
			return nil, fmt.Errorf("lease %s: %w", f, err)
		}
	}
	return l, nil
}

func (l *Leases) load(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	le := &Lease{all: l, id: filepath.Base(file)}
	if json.Unmarshal(data, &le.rec) != nil || le.rec.Boot != l.boot || sinceBoot()-le.rec.Began > leaseLife {
		return os.Remove(file) // torn, or of no use any more
	}
	le.rec.ended = true
	l.live[le.id] = le
	return nil
}

// Take begins a lease. It takes over what unfinished operations of the same
// name left.
func (l *Leases) Take(name string) (*Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	le := &Lease{all: l, id: rand.Text(), rec: leaseRecord{Name: name, Boot: l.boot, Began: sinceBoot()}}
	var old []string
	for id, o := range l.live {
		if o.rec.ended && o.rec.Name == name {
			le.rec.Blobs = append(le.rec.Blobs, o.rec.Blobs...)
			le.rec.Snapshots = append(le.rec.Snapshots, o.rec.Snapshots...)
			old = append(old, id)
		}
	}
	if err := le.save(); err != nil {
		return nil, err
	}
	l.live[le.id] = le
	for _, id := range old {
		if err := l.drop(id); err != nil {
			return nil, err
		}
	}
	return le, nil
}

// Add holds more, before it is made or relied upon.
func (le *Lease) Add(r Roots) error {
	le.all.mu.Lock()
	defer le.all.mu.Unlock()
	le.rec.Blobs = append(le.rec.Blobs, r.Blobs...)
	le.rec.Snapshots = append(le.rec.Snapshots, r.Snapshots...)
	le.rec.Temporary = append(le.rec.Temporary, r.Temporary...)
	return le.save()
}

// Release ends the lease: records name what it held.
func (le *Lease) Release() error {
	le.all.mu.Lock()
	defer le.all.mu.Unlock()
	return le.all.drop(le.id)
}

// Leave ends the operation, but keeps what it has for another try.
func (le *Lease) Leave() {
	le.all.mu.Lock()
	defer le.all.mu.Unlock()
	le.rec.ended, le.rec.Temporary = true, nil
}

// Expire drops the leases that ended unfinished; those under way stay. With
// all false only those that are too old.
func (l *Leases) Expire(all bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for id, le := range l.live {
		if le.rec.ended && (all || sinceBoot()-le.rec.Began > leaseLife) {
			errs = append(errs, l.drop(id))
		}
	}
	return errors.Join(errs...)
}

// drop needs mu.
func (l *Leases) drop(id string) error {
	delete(l.live, id)
	err := os.Remove(filepath.Join(l.dir, id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lease: %w", err)
	}
	mishap.Hit(mishap.LeaseDropped)
	return nil
}

// save needs mu.
func (le *Lease) save() error {
	data, err := json.Marshal(le.rec)
	if err == nil {
		err = os.WriteFile(filepath.Join(le.all.dir, le.id), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("lease %s: %w", le.rec.Name, err)
	}
	mishap.Hit(mishap.LeaseSaved)
	return nil
}

package container

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/sys/user"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

// record is what is kept of a container on disk. What its pointers lead to is
// never changed in place, so a copy of a record may be read without a lock.
type record struct {
	ID      string
	Name    string
	Created time.Time
	// ImageID, Chain, Manifest and Platform are the image's at creation.
	ImageID  digest.Digest
	Chain    storage.SnapshotKey `json:",omitempty"`
	Manifest *ocispec.Descriptor `json:",omitempty"`
	Platform ocispec.Platform
	Path     string
	Args     []string
	Config   *container.Config
	Host     *container.HostConfig
	// Endpoints are the networks to join, as the user configured them.
	Endpoints map[string]*apinetwork.EndpointSettings `json:",omitempty"`
	Mounts    []mountPoint                            `json:",omitempty"`
	// Root are the directories that are written to in the container's root file
	// system, as of its last start.
	Root []string `json:",omitempty"`
	// Drivers that the container was made with.
	StorageDriver, RuntimeDriver, OCIRuntime string
	Run                                      run
}

// run is the present or last life of a container's process.
type run struct {
	Status   status
	Pid      int
	ExitCode int
	// Error is why the last start failed.
	Error     string `json:",omitempty"`
	OOMKilled bool
	// Unknown: nobody could learn the exit status.
	Unknown               bool `json:",omitempty"`
	StartedAt, FinishedAt time.Time
	RestartCount          int
	// First: none was before it. It is on disk only while the daemon has not
	// seen the process run, and false in memory.
	First bool `json:",omitempty"`
	// Stopped by hand: restart policies respect it.
	Stopped bool
	// Boot is the kernel's boot in which the status was written: after
	// another one nothing runs.
	Boot    string
	Handle  driver.Handle
	Network NetworkState
	// IDs is how its user namespace maps ids; nil: it has none.
	IDs *user.IdentityMapping `json:",omitempty"`
}

func (r record) snapshotKey() storage.SnapshotKey { return SnapshotKey(r.ID) }

// SnapshotKey is the storage snapshot of a container's root file system.
func SnapshotKey(id string) storage.SnapshotKey { return storage.SnapshotKey("ctr-" + id) }

// attrs are the attributes of a container's events: image, name and labels.
func (r record) attrs(more ...string) map[string]string {
	a := map[string]string{}
	for k, v := range r.Config.Labels {
		a[k] = v
	}
	a["image"], a["name"] = r.Config.Image, strings.TrimPrefix(r.Name, "/")
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	return a
}

// unit is a container in memory.
type unit struct {
	id string
	// lock serializes operations. It is a channel so that waiting ends with
	// the caller's context.
	lock chan struct{}

	mu      sync.Mutex
	rec     record                // guarded by mu, as all below
	waiters []*waiter             // for exits and the removal
	pending []*pendingStream      // attached before the start
	execs   map[string]*execution // by id
	health  *container.Health     // nil without a health check
	// ended is closed when the present run of the process is over and
	// accounted for; nil when none is.
	ended chan struct{}
	// cancelRestart ends the wait for an automatic restart.
	cancelRestart context.CancelFunc
	// stopHealth ends the health checks of the present run.
	stopHealth context.CancelFunc
	removed    bool
	// erased: its record is no longer on disk.
	erased bool
	// rootfs are the mounts of the snapshot as it was prepared, for the first
	// start.
	rootfs []mount.Mount
	// exiting: an exit was told and is not yet looked at.
	exiting bool
	// stale: the runtime may still know a former run.
	stale bool
	// starting is the handle of a process that is created and not yet
	// recorded as running; nil otherwise.
	starting *driver.Handle
	// unclaimed: it ran when the daemon started, and could not be taken back
	// because its driver was not there.
	unclaimed bool
}

func newUnit(r record) *unit {
	return &unit{id: r.ID, rec: r, lock: make(chan struct{}, 1), execs: map[string]*execution{}}
}

// acquire takes the lock for an operation.
func (u *unit) acquire(ctx context.Context) error {
	select {
	case u.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("container %s: busy with another operation: %w", short(u.id), ctx.Err())
	}
}

func (u *unit) release() { <-u.lock }

// claimed notes whether a container that ran when the daemon started is taken
// back, and says whether it was.
func (u *unit) claimed(now bool) (before bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before = !u.unclaimed
	u.unclaimed = !now
	return before
}

// tell notes that an exit is to be looked at; false when one is already, so that
// a driver that repeats itself costs nothing.
func (u *unit) tell() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.exiting {
		return false
	}
	u.exiting = true
	return true
}

func (u *unit) told() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.exiting = false
}

func (u *unit) setStarting(h *driver.Handle) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.starting = h
}

// handle is what the runtime's driver gave for the present process; false when
// there is none.
func (u *unit) handle() (driver.Handle, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.starting != nil {
		return *u.starting, true
	}
	return u.rec.Run.Handle, alive(u.rec.Run.Status)
}

// get returns a copy of the record.
func (u *unit) get() record {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.rec
}

// change edits the record under mu, save its status, and returns a copy.
func (u *unit) change(f func(*record)) record {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.rec.Run.Status
	f(&u.rec)
	u.rec.Run.Status = s
	return u.rec
}

// move performs an operation: the only place where a container's status is
// written. edit changes the rest of the run with it.
func (m *Manager) move(u *unit, o operation, edit func(*run)) (record, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.rec.Run.Status
	is, err := m.next(u.id, was, o)
	if err != nil {
		return u.rec, err
	}
	u.rec.Run.Status, u.rec.Run.Boot = is, m.boot
	if edit != nil {
		edit(&u.rec.Run)
	}
	switch {
	case is == container.StateRunning && !alive(was):
		u.ended = make(chan struct{})
	case alive(was) && !alive(is) && u.ended != nil:
		close(u.ended)
		u.ended = nil
	}
	if active(was) && !active(is) {
		u.notify(false)
	}
	return u.rec, nil
}

// allows checks an operation without performing it.
func (m *Manager) allows(u *unit, o operation) (record, error) {
	r := u.get()
	_, err := m.next(u.id, r.Run.Status, o)
	return r, err
}

func (m *Manager) save(r record) error {
	if err := m.cfg.Store.Update(func(tx *store.Tx) error { return m.records.Put(tx, r.ID, r) }); err != nil {
		return fmt.Errorf("container %s: record: %w", short(r.ID), err)
	}
	return nil
}

func (m *Manager) publish(r record, a events.Action, more ...string) {
	m.cfg.Events.Publish(events.ContainerEventType, a, r.ID, r.attrs(more...))
}

// short is the id that people see.
func short(id string) string { return id[:min(12, len(id))] }

// undo collects what takes back the steps done so far.
type undo []func(context.Context) error

func (s *undo) push(f func(context.Context) error) { *s = append(*s, f) }

// run takes back all steps, the last one first, even when ctx has ended.
func (s *undo) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), driverTimeout)
	defer cancel()
	for i := len(*s) - 1; i >= 0; i-- {
		err = errors.Join(err, (*s)[i](ctx))
	}
	return err
}

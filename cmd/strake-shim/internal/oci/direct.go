package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/shim/cgroup"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// What "runc start" and "runc delete" do without hooks is little, but they take
// more processor time to load than all the shim's work, and so do crun's. Both
// keep a created container waiting at <root>/<id>/exec.fifo, in which runc's
// writes one byte as soon as it is read, and crun's reads one; that directory
// and the cgroups are all that is left of a stopped one.

// errIndirect asks for the runtime's command instead.
var errIndirect = errors.New("not as runc does it")

// startDirectly lets a created container run. gone is closed when its process
// has ended.
func (r *Runner) startDirectly(id string, gone <-chan struct{}) error {
	path := r.fifo(id)
	switch r.Runtime.Like {
	case wire.Runc:
		return takeByte(path, gone)
	case wire.Crun:
		return giveByte(path)
	default:
		return errIndirect
	}
}

func (r *Runner) fifo(id string) string { return filepath.Join(r.Runtime.Root, id, "exec.fifo") }

// Waits says that a container has not been started, or was not when it ended: one
// whose shim is killed while it starts it dies of that.
func (r *Runner) Waits(id string) bool {
	_, err := os.Stat(r.fifo(id))
	return err == nil
}

// giveByte is what crun's containers wait for.
func giveByte(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		return &Error{"start", "the process ended before it was started"}
	}
	if err != nil {
		return errIndirect
	}
	err = remove(path) // first: until then crun takes it for one that was not started
	if err == nil {
		_, err = f.Write([]byte{0})
	}
	return errors.Join(err, f.Close())
}

// takeByte is what runc's containers wait for.
func takeByte(path string, gone <-chan struct{}) error {
	// For both, so that opening does not wait and reading does not end before
	// the container has opened it, too.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return errIndirect
	}
	f := os.NewFile(uintptr(fd), path)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-gone:
			if err := f.SetReadDeadline(time.Unix(1, 0)); err != nil && !errors.Is(err, os.ErrClosed) {
				note("start: %v", err)
			}
		case <-done:
		}
	}()
	var b [1]byte
	_, err = f.Read(b[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// It may have written before it ended: a short process is quick.
		err = readLast(f, b[:])
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return &Error{"start", "the process ended before it was started: " + err.Error()}
	}
	return remove(path)
}

// readLast reads what is in the fifo already, whatever the deadline.
func readLast(f *os.File, b []byte) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var readErr error
	err = c.Control(func(fd uintptr) { _, readErr = unix.Read(int(fd), b) })
	return errors.Join(err, readErr)
}

// deleteWithin is how long cgroups may be busy.
const deleteWithin = 2 * time.Second

// deleteDirectly removes what is left of a stopped container.
func (r *Runner) deleteDirectly(id string, g cgroup.Group) error {
	state := map[wire.Kind]string{wire.Runc: "state.json", wire.Crun: "status"}[r.Runtime.Like]
	dir := filepath.Join(r.Runtime.Root, id)
	if _, err := os.Stat(filepath.Join(dir, state)); state == "" || err != nil || len(g.All) == 0 {
		return errIndirect
	}
	if err := cgroup.Remove(g.All, deleteWithin); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Start lets a created container run.
func (r *Runner) Start(id string, gone <-chan struct{}) error {
	err := r.startDirectly(id, gone)
	if errors.Is(err, errIndirect) {
		return r.Run([3]*os.File{}, "start", id)
	}
	return err
}

// Delete has the runtime forget a stopped container.
func (r *Runner) Delete(id string, g cgroup.Group) error {
	if err := r.deleteDirectly(id, g); err == nil {
		return nil
	} else if !errors.Is(err, errIndirect) {
		note("delete: %v", err)
	}
	if err := r.Run([3]*os.File{}, "delete", id); err == nil {
		return nil
	}
	return r.Run([3]*os.File{}, "delete", "--force", id)
}

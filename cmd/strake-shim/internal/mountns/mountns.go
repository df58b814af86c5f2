// Package mountns keeps a mount namespace of the shim's own, in which the root
// file system is mounted and the OCI runtime runs. What is mounted there must
// not get out, but the host's mounts shall come in; and when the shim ends,
// however it does, there is nothing to unmount.
package mountns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace runs work in the namespace. Only one thread of the process is in
// it: the others were started before there was a container, by a spare, and a
// copy of the host's mounts must not be older than its container.
type Namespace struct{ work chan func() }

// timerSlack is the kernel's own, in nanoseconds.
const timerSlack = 50_000

// New has the calling goroutine's thread be the one that Serve works on.
func New() *Namespace {
	runtime.LockOSThread()
	// Containers inherit the timer slack of the thread that starts the OCI
	// runtime, which may be one that the driver's monitor made (sdk/sysmon).
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0)
	return &Namespace{make(chan func())}
}

// Enter makes the namespace, for a container with a network namespace at the
// path netns; "": none. Serve's goroutine calls it.
func (*Namespace) Enter(netns string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make / a slave: %w", err)
	}
	if err := shed(netns); err != nil {
		return fmt.Errorf("leave others' network namespaces: %w", err)
	}
	return nil
}

// few pins are not worth to be shed.
const few = 32

// shed leaves the pins of others' network namespaces behind, when there are
// more than a few in the directory of this one: the OCI runtime copies all
// mounts and reads their list, more than once.
func shed(netns string) error {
	dir := filepath.Dir(netns)
	if filepath.Base(dir) != "netns" { // as ip-netns(8) has it: a mount for nothing but pins
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil //nolint:nilerr // the OCI runtime will say so
	}
	names, _ := d.Readdirnames(few + 1)
	if err := d.Close(); err != nil || len(names) <= few {
		return err
	}
	own, err := os.OpenFile(netns, unix.O_PATH, 0)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	defer own.Close() //nolint:errcheck // a path
	err = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) {
		return nil // not a mount
	}
	if err != nil {
		return err
	}
	// The file that the pin was on is still there, without it.
	return unix.Mount(fmt.Sprintf("/proc/thread-self/fd/%d", own.Fd()), netns, "", unix.MS_BIND, "")
}

// Serve works until done is closed.
func (n *Namespace) Serve(done <-chan struct{}) {
	for {
		select {
		case f := <-n.work:
			f()
		case <-done:
			return
		}
	}
}

// Do runs f in the namespace and waits for it.
func (n *Namespace) Do(f func() error) error {
	result := make(chan error, 1)
	n.work <- func() { result <- f() }
	return <-result
}

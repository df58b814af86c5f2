// Package mountns keeps a mount namespace of the shim's own, in which the root
// file system is mounted and the OCI runtime runs. What is mounted there must
// not get out, but the host's mounts shall come in; and when the shim ends,
// however it does, there is nothing to unmount.
package mountns

import (
	"fmt"
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

// Enter makes the namespace. Serve's goroutine calls it.
func (*Namespace) Enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make / a slave: %w", err)
	}
	return nil
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

package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// killWithin is how long a killed process may take to end.
const killWithin = 5 * time.Second

// evict ends the processes that listen on the sockets in the directory of a dead
// host. A driver ends by itself when its host is gone, but only when it comes to
// it: one that is stopped, frozen or starved would go on with its call beside its
// successor.
func (d *socketDir) evict() error {
	return filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a driver that ends takes its own away
			return nil
		}
		if err != nil || e.Type() != fs.ModeSocket {
			return err
		}
		return killListener(path)
	})
}

// killListener kills the process that listens on a socket, if there is one, and
// waits until it has ended.
func killListener(path string) error {
	conn, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(conn) //nolint:errcheck // it was only looked at
	err = unix.Connect(conn, &unix.SockaddrUnix{Name: path})
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
		return nil // nobody listens
	}
	if err != nil {
		return &os.PathError{Op: "connect", Path: path, Err: err}
	}
	cred, err := unix.GetsockoptUcred(conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if cred.Pid == 0 || int(cred.Pid) == os.Getpid() {
		return nil // beyond reach, or a driver within this process
	}
	process, err := unix.PidfdOpen(int(cred.Pid), 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(process) //nolint:errcheck // it was only looked at
	// While the connection lives, so does the listener, and the pid is its own.
	if gone, err := ready(conn, unix.POLLRDHUP, 0); gone || err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	ended, err := ready(process, unix.POLLIN, killWithin)
	if err == nil && !ended {
		err = fmt.Errorf("process %d of a host that is gone does not end within %s of its SIGKILL: %w", cred.Pid, killWithin, errdefs.ErrUnavailable)
	}
	return err
}

// ready polls a descriptor.
func ready(fd int, events int16, within time.Duration) (bool, error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for end := time.Now().Add(within); ; {
		n, err := unix.Poll(p, int(max(0, time.Until(end)).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n > 0, os.NewSyscallError("poll", err)
		}
	}
}

package stdio

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets are plain files on Go's poller: package net would cost every shim a
// few hundred kilobytes.

// Listen makes a unix socket that only root may connect to.
func Listen(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = unix.Chmod(path, 0o600)
	}
	if err == nil {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		return nil, closeAfter(fd, fmt.Errorf("socket %s: %w", path, err))
	}
	return os.NewFile(uintptr(fd), path), nil
}

func closeAfter(fd int, err error) error {
	if cerr := unix.Close(fd); cerr != nil {
		return fmt.Errorf("%w; close: %w", err, cerr)
	}
	return err
}

// Accept waits for a connection, within the listener's read deadline.
func Accept(l *os.File) (*os.File, error) {
	rc, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var aerr error
	err = rc.Read(func(lfd uintptr) bool {
		fd, _, aerr = unix.Accept4(int(lfd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return aerr != unix.EAGAIN && aerr != unix.EINTR && aerr != unix.ECONNABORTED
	})
	if err == nil {
		err = aerr
	}
	if err != nil {
		return nil, fmt.Errorf("socket %s: accept: %w", l.Name(), err)
	}
	return os.NewFile(uintptr(fd), l.Name()), nil
}

// closeWrite ends one direction of a connection.
func closeWrite(f *os.File) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := rc.Control(func(fd uintptr) { serr = unix.Shutdown(int(fd), unix.SHUT_WR) }); err != nil {
		return err
	}
	return serr
}

// after is a deadline from now.
func after(d time.Duration) time.Time { return time.Now().Add(d) }

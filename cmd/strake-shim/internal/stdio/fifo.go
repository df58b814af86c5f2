package stdio

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// makeFIFO makes a FIFO, which may be there already.
func makeFIFO(path string, uid, gid int) error {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("fifo %s: make: %w", path, err)
	}
	if uid == 0 && gid == 0 {
		return nil
	}
	if err := unix.Chown(path, uid, gid); err != nil {
		return fmt.Errorf("fifo %s: change owner: %w", path, err)
	}
	return nil
}

// openFIFO opens one side. With O_NONBLOCK the file is on the poller.
func openFIFO(path string, flags int) (*os.File, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fifo %s: open: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// outFIFO makes a FIFO for output. The child's end is open for reading too, so
// that a write waits when nobody else reads, where it would fail otherwise.
func outFIFO(path string, uid, gid int) (child, ours *os.File, err error) {
	if err := makeFIFO(path, uid, gid); err != nil {
		return nil, nil, err
	}
	if ours, err = openFIFO(path, unix.O_RDONLY|unix.O_NONBLOCK); err != nil {
		return nil, nil, err
	}
	if child, err = openFIFO(path, unix.O_RDWR); err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	// A larger pipe saves switches between writer and reader, a fifth of all
	// work; one of the usual size does where the kernel allows no more.
	if _, err := unix.FcntlInt(child.Fd(), unix.F_SETPIPE_SZ, chunk); err != nil {
		note("fifo %s: size: %v", path, err)
	}
	return child, ours, nil
}

// inFIFO makes a FIFO for input, of which the child sees the end.
func inFIFO(path string, uid, gid int) (child, ours *os.File, err error) {
	if err := makeFIFO(path, uid, gid); err != nil {
		return nil, nil, err
	}
	both, err := openFIFO(path, unix.O_RDWR) // lets the others open at once
	if err != nil {
		return nil, nil, err
	}
	if child, err = openFIFO(path, unix.O_RDONLY); err == nil {
		if ours, err = openFIFO(path, unix.O_WRONLY|unix.O_NONBLOCK); err != nil {
			err = errors.Join(err, child.Close())
		}
	}
	if err = errors.Join(err, both.Close()); err != nil {
		return nil, nil, err
	}
	return child, ours, nil
}

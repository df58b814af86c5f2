package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// lock holds a directory for this process. The kernel lets go of it when the
// process ends, however it ends.
type lock struct{ file *os.File }

// takeLock makes the directory and locks it. ErrUnavailable names the process
// that has it.
func takeLock(dir string) (*lock, error) {
	if err := closedDir(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "straked.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 16)
		n, _ := f.Read(holder) // it only makes the message better
		err = fmt.Errorf("%s: in use by another straked (pid %s): stop it, or choose another directory: %w",
			dir, strings.TrimSpace(string(holder[:n])), errdefs.ErrUnavailable)
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &lock{f}, nil
}

// closedDir makes a directory that is nobody's business but root's, or takes
// from others what they may do with it. Volumes and roots hold files of whatever
// owner and mode, programs with the set-user-ID bit among them: users of the host
// must not get there.
func closedDir(dir string) error {
	if err := os.MkdirAll(dir, 0o710); err != nil {
		return err
	}
	fi, err := os.Stat(dir)
	if err != nil || fi.Mode().Perm()&0o027 == 0 {
		return err
	}
	return os.Chmod(dir, fi.Mode().Perm()&^0o027)
}

func (l *lock) release() error { return l.file.Close() }

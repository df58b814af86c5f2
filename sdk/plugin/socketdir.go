package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/internal/bulk"
)

// launchPrefix begins the names of the directories that hold one launch's
// sockets.
const launchPrefix = "l-"

// socketDir is a directory for the sockets of one launch. Its owner holds a
// lock on it, so that a later host can tell what is left over.
type socketDir struct {
	path string
	lock *os.File
}

// newSocketDir sweeps what dead hosts left in parent and makes a directory in
// it. parent is made if need be; it must be a private directory.
func newSocketDir(parent string) (*socketDir, error) {
	if err := privateDir(parent); err != nil {
		return nil, err
	}
	// One launch at a time: when it is over, no driver of a dead host is left
	// for the next one either.
	all, err := lockDir(parent, 0)
	if err != nil {
		return nil, fmt.Errorf("socket directory: %w", err)
	}
	defer all.Close() //nolint:errcheck // the lock goes with it
	if err := sweep(parent); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(parent, launchPrefix)
	if err != nil {
		return nil, fmt.Errorf("socket directory: %w", err)
	}
	if err := bulk.CheckDir(path); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	lock, err := lockDir(path, unix.LOCK_NB)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &socketDir{path, lock}, nil
}

func privateDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("socket directory: %w", err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("socket directory: %w", err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("socket directory %s: open to others (mode %04o): chmod 0700 it: %w",
			path, fi.Mode().Perm(), errdefs.ErrPermissionDenied)
	}
	return nil
}

// lockDir locks a directory that still exists, and waits for it unless flags
// say LOCK_NB. The lock ends with the process.
func lockDir(path string, flags int) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|flags)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	if _, err := os.Stat(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweep removes the directories whose hosts are dead, and ends the drivers that
// are left of them.
func sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("socket directory: sweep: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), launchPrefix) {
			continue
		}
		lock, err := lockDir(filepath.Join(parent, e.Name()), unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue // in use, or just removed by its host
		}
		if err != nil {
			return fmt.Errorf("socket directory: sweep: %w", err)
		}
		dead := socketDir{filepath.Join(parent, e.Name()), lock}
		if err := dead.evict(); err != nil {
			return errors.Join(fmt.Errorf("socket directory: sweep: %w", err), lock.Close())
		}
		if err := dead.remove(); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the directory and gives up the lock.
func (d *socketDir) remove() error {
	if err := errors.Join(os.RemoveAll(d.path), d.lock.Close()); err != nil {
		return fmt.Errorf("socket directory: remove: %w", err)
	}
	return nil
}

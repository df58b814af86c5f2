package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// removeDepth bounds the descriptors that a removal holds. Deeper
	// directories are moved up first: by way of links an archive can nest
	// them without limit.
	removeDepth = 64
	// removeBatch bounds the names that it holds per directory.
	removeBatch = 1024
)

// RemoveAll removes path with all that is below it, however deep. It is no
// error when nothing is there. pace, when not nil, is called before each
// object is removed, to slow the removal down; its error ends it.
func RemoveAll(ctx context.Context, path string, pace func(context.Context) error) (err error) {
	dir, err := openDir(filepath.Dir(path))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, unix.Close(dir)) }()
	if err := removeAllAt(ctx, dir, filepath.Base(path), pace); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// remover is the state of one removal.
type remover struct {
	ctx   context.Context //nolint:containedctx // stands for one call
	pace  func(context.Context) error
	top   int // the directory that is being removed
	moved int
}

// removeAllAt is RemoveAll for base in an open directory.
func removeAllAt(ctx context.Context, dir int, base string, pace func(context.Context) error) error {
	r := &remover{ctx: ctx, pace: pace, top: -1}
	return r.remove(dir, base, 0)
}

func (r *remover) remove(dir int, base string, depth int) error {
	if err := r.wait(); err != nil {
		return err
	}
	err := ignoringEINTR(func() error { return unix.Unlinkat(dir, base, 0) })
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s: %w", base, err)
	}
	fd, openErr := openRetry(func() (int, error) {
		return unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if openErr != nil {
		return fmt.Errorf("%s: %w", base, err)
	}
	if depth == 0 {
		r.top = fd
	}
	if err := errors.Join(r.empty(fd, depth), unix.Close(fd)); err != nil {
		return err
	}
	if err := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", base, err)
	}
	return nil
}

// empty removes all that directory fd holds. It reads from the start until
// nothing is left, and so finds what it moved up, too.
func (r *remover) empty(fd, depth int) error {
	for {
		names, err := readNames(fd, removeBatch)
		if err != nil {
			return fmt.Errorf("read directory: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			if depth >= removeDepth && r.moveUp(fd, name) == nil {
				continue
			}
			if err := r.remove(fd, name, depth+1); err != nil {
				return err
			}
		}
	}
}

// moveUp moves a directory to the top of what is being removed; anything else
// is an error.
func (r *remover) moveUp(fd int, name string) error {
	st, err := lstatAt(fd, name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	for {
		r.moved++
		err := unix.Renameat2(fd, name, r.top, ".strake-moved-"+strconv.Itoa(r.moved), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}

func (r *remover) wait() error {
	if err := context.Cause(r.ctx); err != nil {
		return err
	}
	if r.pace == nil {
		return nil
	}
	return r.pace(r.ctx)
}

// readNames lists an open directory from its start, up to about limit names;
// zero means all.
func readNames(fd, limit int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 16<<10)
	for limit == 0 || len(names) < limit {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	return names, nil
}

package archive

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// DiskUsage measures the tree at root: bytes on disk and inodes, hard links
// counted once. Files that vanish meanwhile are not counted.
func DiskUsage(ctx context.Context, root string) (bytes, inodes int64, err error) {
	fd, err := openDir(root)
	if err != nil {
		return 0, 0, fmt.Errorf("directory %s: open: %w", root, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	m := &meter{ctx: ctx, linked: map[inode]struct{}{}}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, 0, fmt.Errorf("directory %s: stat: %w", root, err)
	}
	m.count(st)
	if err := m.children(fd); err != nil {
		return 0, 0, fmt.Errorf("directory %s: measure: %w", root, err)
	}
	return m.bytes, m.inodes, nil
}

type meter struct {
	ctx           context.Context //nolint:containedctx // stands for one call
	bytes, inodes int64
	linked        map[inode]struct{}
}

func (m *meter) count(st unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		id := inode{st.Dev, st.Ino}
		if _, ok := m.linked[id]; ok {
			return
		}
		m.linked[id] = struct{}{}
	}
	m.bytes += st.Blocks * 512
	m.inodes++
}

func (m *meter) children(fd int) error {
	if err := context.Cause(m.ctx); err != nil {
		return err
	}
	names, err := readNames(fd, 0)
	if err != nil {
		return err
	}
	for _, base := range names {
		st, err := lstatAt(fd, base)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
		m.count(st)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if err := m.below(fd, base); err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
	}
	return nil
}

func (m *meter) below(dir int, base string) (err error) {
	fd, err := openRetry(func() (int, error) {
		return unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	return m.children(fd)
}

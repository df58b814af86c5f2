package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// copyUp copies what the image has at a volume's destination into the empty
// volume, owners, modes, times and extended attributes included.
func copyUp(root *os.File, p mountPoint) (err error) {
	src, err := openIn(root, p.Destination, unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // nothing to take over
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return copyTree(src, p.Source)
}

func copyTree(top *os.File, dst string) (err error) {
	src, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", top.Fd()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	links := map[uint64]string{} // inode → first copy, for hard links
	return fs.WalkDir(src.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dst, name)
		// The tree holds still: the container does not run. So plain paths
		// below the open directory are safe.
		from := fmt.Sprintf("/proc/self/fd/%d/%s", top.Fd(), name)
		var st unix.Stat_t
		if err := unix.Lstat(from, &st); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if first, ok := links[st.Ino]; ok && !d.IsDir() {
			return os.Link(first, target)
		}
		if st.Nlink > 1 && !d.IsDir() {
			links[st.Ino] = target
		}
		if err := copyNode(src, name, target, &st); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return copyMeta(from, target, &st)
	})
}

func copyNode(src *os.Root, name, target string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if name == "." {
			return nil
		}
		return os.Mkdir(target, 0o700)
	case unix.S_IFREG:
		return copyFile(src, name, target)
	case unix.S_IFLNK:
		to, err := src.Readlink(name)
		if err != nil {
			return err
		}
		return os.Symlink(to, target)
	default:
		return unix.Mknod(target, st.Mode, int(st.Rdev)) //nolint:gosec // a device number fits
	}
}

func copyFile(src *os.Root, name, target string) (err error) {
	in, err := src.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

func copyMeta(from, target string, st *unix.Stat_t) error {
	if err := unix.Lchown(target, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyXattrs(from, target); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(target, st.Mode&0o7777); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, target, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

func copyXattrs(from, target string) error {
	size, err := unix.Llistxattr(from, nil)
	if err != nil || size == 0 {
		return ignoreUnsupported(err)
	}
	names := make([]byte, size)
	if size, err = unix.Llistxattr(from, names); err != nil {
		return err
	}
	for _, name := range strings.Split(strings.TrimRight(string(names[:size]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "trusted.overlay.") || name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(from, name, value)
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
		if err := ignoreUnsupported(unix.Lsetxattr(target, name, value[:n], 0)); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

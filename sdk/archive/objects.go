package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// mkdir makes or takes over the directory that h describes.
func (u *unpacker) mkdir(dir *dirent, name, base string, h *tar.Header) error {
	made, err := u.makeDir(dir, base)
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	d, err := u.dirs.child(dir, name, base)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		d, err = u.replaceByDir(dir, name, base)
	}
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	delete(u.implicit, d.ino)
	if !made {
		if err := dropXattrs(d, h); err != nil {
			return err
		}
	}
	return u.dirMeta(d, h)
}

// replaceByDir makes a directory in the place of something else. Whatever the
// lower layers hold under the name was replaced by that before.
func (u *unpacker) replaceByDir(dir *dirent, name, base string) (*dirent, error) {
	var err error
	if u.opts.Whiteouts == Overlay {
		err = u.makeOpaque(dir, base)
	} else if err = u.remove(dir, base); err == nil {
		err = unix.Mkdirat(dir.fd, base, 0o755)
	}
	if err != nil {
		return nil, err
	}
	return u.dirs.child(dir, name, base)
}

// file makes a regular file.
func (u *unpacker) file(dir *dirent, base string, h *tar.Header, content io.Reader) (err error) {
	fd := -1
	err = u.replace(dir, base, func() (err error) {
		fd, err = unix.Openat(dir.fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	write := u.write
	if isSparse(h) {
		write = u.writeSparse
	}
	if err := write(fd, h.Size, content); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return fileMeta(fd, h, dir.setgid())
}

// write copies content to fd.
func (u *unpacker) write(fd int, size int64, content io.Reader) error {
	for size > 0 {
		b := u.buf[:min(size, int64(len(u.buf)))]
		if _, err := io.ReadFull(content, b); err != nil {
			return contentError(err)
		}
		if err := writeAll(fd, b); err != nil {
			return err
		}
		size -= int64(len(b))
		u.res.Bytes += int64(len(b))
		if err := u.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func contentError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalidBy(io.ErrUnexpectedEOF, "the archive ends too early")
	}
	return fmt.Errorf("read: %w", err)
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

// link makes a hard link to an earlier entry.
func (u *unpacker) link(dir *dirent, base string, h *tar.Header) error {
	target, err := cleanName(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %.256q: %w", h.Linkname, err)
	}
	parent, targetBase := split(target)
	from, err := u.dirs.find(parent)
	if err != nil {
		return fmt.Errorf("hard link to %.256q: %w", h.Linkname, parentError(err))
	}
	if from.ino == dir.ino && targetBase == base {
		return u.linkToItself(dir, base)
	}
	make := func() error { return unix.Linkat(from.fd, targetBase, dir.fd, base, 0) }
	err = u.replaceUnless(dir, base, from, targetBase, make)
	if errors.Is(err, unix.ENOENT) {
		err = invalidBy(err, "not in this layer")
	}
	if err != nil {
		return fmt.Errorf("hard link to %.256q: %w", h.Linkname, err)
	}
	return u.linkMeta(dir, base, h)
}

// replaceUnless is replace for hard links: the target must exist before what
// is in the way goes, and may not be below it.
func (u *unpacker) replaceUnless(dir *dirent, base string, from *dirent, targetBase string, make func() error) error {
	st, err := lstatAt(from.fd, targetBase)
	switch {
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return invalid("it is a directory")
	case isOverlayWhiteout(st):
		return invalidBy(unix.ENOENT, "it was removed")
	}
	return u.replace(dir, base, make)
}

func (u *unpacker) linkToItself(dir *dirent, base string) error {
	if _, err := lstatAt(dir.fd, base); err != nil {
		return fmt.Errorf("hard link to itself: %w", invalidBy(err, "not in this layer"))
	}
	return nil
}

func nodeMode(h *tar.Header) uint32 {
	mode := uint32(h.Mode & 0o7777)
	switch h.Typeflag {
	case tar.TypeChar:
		return mode | unix.S_IFCHR
	case tar.TypeBlock:
		return mode | unix.S_IFBLK
	default:
		return mode | unix.S_IFIFO
	}
}

func nodeDev(h *tar.Header) int {
	if h.Typeflag == tar.TypeFifo {
		return 0
	}
	return int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))) //nolint:gosec // admit has seen to it
}

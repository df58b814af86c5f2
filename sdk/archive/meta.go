package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The order matters: a change of owner clears set-id bits and the capability
// attribute, writing clears them too, and times come last.

// fileMeta gives an open regular file its metadata.
func fileMeta(fd int, h *tar.Header, setgid bool) error {
	if err := fdMeta(fd, h, h.Uid != 0 || h.Gid != 0 || setgid, true); err != nil {
		return err
	}
	return setFdTimes(fd, timespecs(h.AccessTime, h.ModTime))
}

// dirMeta gives a directory its metadata, and remembers its times for later.
func (u *unpacker) dirMeta(d *dirent, h *tar.Header) error {
	mode := uint32(h.Mode & 0o7777)
	sameOwner := int64(d.uid) == int64(h.Uid) && int64(d.gid) == int64(h.Gid)
	if err := fdMeta(d.fd, h, !sameOwner, !sameOwner || d.mode != mode); err != nil {
		return err
	}
	d.mode, d.uid, d.gid = mode, uint32(h.Uid), uint32(h.Gid) //nolint:gosec // admit has seen to it
	return u.noteTimes(d.ino, timespecs(h.AccessTime, h.ModTime))
}

// fdMeta sets extended attributes and, where asked to, owner and mode. After
// the owner the mode has to be set, too.
func fdMeta(fd int, h *tar.Header, owner, mode bool) error {
	if owner {
		if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
			return fmt.Errorf("change owner: %w", err)
		}
	}
	if mode {
		if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
			return fmt.Errorf("change mode: %w", err)
		}
	}
	return setXattrs(h, func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) })
}

// meta gives a new symbolic link or node its metadata.
func (u *unpacker) meta(dir *dirent, base string, h *tar.Header) error {
	if h.Uid != 0 || h.Gid != 0 || dir.setgid() {
		if err := unix.Fchownat(dir.fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("change owner: %w", err)
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(dir.fd, base, uint32(h.Mode&0o7777), 0); err != nil {
			return fmt.Errorf("change mode: %w", err)
		}
	}
	path := dir.path() + "/" + base
	if err := setXattrs(h, func(name string, value []byte) error { return unix.Lsetxattr(path, name, value, 0) }); err != nil {
		return err
	}
	return setTimesAt(dir.fd, base, h)
}

// linkMeta gives the file behind a new hard link the metadata of its last
// entry, as Docker does. Archives nearly always repeat the same.
func (u *unpacker) linkMeta(dir *dirent, base string, h *tar.Header) error {
	st, err := lstatAt(dir.fd, base)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return setTimesAt(dir.fd, base, h)
	}
	mode := uint32(h.Mode & 0o7777)
	if int(st.Uid) != h.Uid || int(st.Gid) != h.Gid || st.Mode&0o7777 != mode {
		if err := unix.Fchownat(dir.fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("change owner: %w", err)
		}
		if err := unix.Fchmodat(dir.fd, base, mode, 0); err != nil {
			return fmt.Errorf("change mode: %w", err)
		}
	}
	path := dir.path() + "/" + base
	if err := setXattrs(h, func(name string, value []byte) error { return unix.Lsetxattr(path, name, value, 0) }); err != nil {
		return err
	}
	return setTimesAt(dir.fd, base, h)
}

// setXattrs sets the entry's extended attributes but those that would be
// overlayfs's marks. A file system that cannot hold an attribute costs the
// attribute, save capabilities, without which programs would fail later.
func setXattrs(h *tar.Header, set func(name string, value []byte) error) error {
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, paxXattr)
		if !ok || reservedXattr(name) {
			continue
		}
		err := set(name, []byte(value))
		if err == nil || name != "security.capability" && unsupported(name, err) {
			continue
		}
		return fmt.Errorf("set extended attribute %s: %w", name, err)
	}
	return nil
}

// dropXattrs removes from a directory that was there what the entry does not
// name.
func dropXattrs(d *dirent, h *tar.Header) error {
	attrs, err := xattrs(d.path() + "/.")
	if err != nil {
		return err
	}
	for name := range attrs {
		if _, ok := h.PAXRecords[paxXattr+name]; ok {
			continue
		}
		if err := unix.Fremovexattr(d.fd, name); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove extended attribute %s: %w", name, err)
		}
	}
	return nil
}

// unsupported: user attributes exist on files and directories only.
func unsupported(name string, err error) bool {
	return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) && strings.HasPrefix(name, "user.")
}

func setTimesAt(dir int, base string, h *tar.Header) error {
	ts := timespecs(h.AccessTime, h.ModTime)
	if err := unix.UtimesNanoAt(dir, base, ts[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// setFdTimes is utimensat(2) without a path, which x/sys does not offer.
func setFdTimes(fd int, ts [2]unix.Timespec) error {
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("set times: %w", errno)
	}
	return nil
}

// timespecs gives the time of access that of modification when unknown.
func timespecs(atime, mtime time.Time) [2]unix.Timespec {
	if atime.IsZero() {
		atime = mtime
	}
	return [2]unix.Timespec{timespec(atime), timespec(mtime)}
}

func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

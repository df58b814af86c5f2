package mount

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// mountFlags are the flags that each mount has for itself.
const mountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC |
	unix.MS_NODIRATIME | unix.MS_NOSYMFOLLOW | atimeFlags

const atimeFlags = unix.MS_NOATIME | unix.MS_RELATIME | unix.MS_STRICTATIME

// attrs turns mount(2)'s flags into those of fsmount(2).
func attrs(flags uintptr) int {
	attr := 0
	for flag, a := range map[uintptr]int{
		unix.MS_RDONLY:      unix.MOUNT_ATTR_RDONLY,
		unix.MS_NOSUID:      unix.MOUNT_ATTR_NOSUID,
		unix.MS_NODEV:       unix.MOUNT_ATTR_NODEV,
		unix.MS_NOEXEC:      unix.MOUNT_ATTR_NOEXEC,
		unix.MS_NODIRATIME:  unix.MOUNT_ATTR_NODIRATIME,
		unix.MS_NOSYMFOLLOW: unix.MOUNT_ATTR_NOSYMFOLLOW,
		unix.MS_NOATIME:     unix.MOUNT_ATTR_NOATIME,
		unix.MS_STRICTATIME: unix.MOUNT_ATTR_STRICTATIME,
	} {
		if flags&flag != 0 {
			attr |= a
		}
	}
	return attr
}

// bind mounts source over target, and changes the flags of the new mount
// alone. Flags that no option names stay those of the source.
func bind(source string, target int, o options) error {
	if o.set&unix.MS_REMOUNT != 0 {
		return setFlags(target, o)
	}
	flags := uintptr(unix.MS_BIND)
	if o.recursive {
		flags |= unix.MS_REC
	}
	return unix.Mount(source, fdPath(target), "", flags, "")
}

// setFlags changes the flags of the mount behind fd. The one call that
// changes some flags and leaves the others, mount_setattr(2), is of Linux
// 5.12; before it the present ones are read first.
func setFlags(fd int, o options) error {
	set, clear := o.set&mountFlags, o.clear&mountFlags
	if set|clear == 0 {
		return nil
	}
	attr := unix.MountAttr{Attr_set: uint64(attrs(set)), Attr_clr: uint64(attrs(clear))} //nolint:gosec // flags, not numbers
	if set&atimeFlags != 0 {
		attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr)
	if !errors.Is(err, unix.ENOSYS) {
		return wrap("change the flags", err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	present := uintptr(st.Flags) & mountFlags //nolint:gosec // ST_* equal MS_* for these
	flags := present&^clear | set | unix.MS_BIND | unix.MS_REMOUNT
	return wrap("change the flags", unix.Mount("", fdPath(fd), "", flags, ""))
}

func wrap(doing string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

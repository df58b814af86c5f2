package mount

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// IDMap is the option that shows a mount's files with other owners: those of the
// files as a user namespace maps them, whose file is the value, such as
// /proc/1234/ns/user. Root's files are then those of the namespace's root, and
// what that makes is root's on disk. The name is mount(8)'s.
//
// A bind mount is mapped as a whole, an overlay by its layers, since overlayfs
// itself cannot be: the layers, which need Linux 5.19, must be on a file system
// that can. For a moment they are mounted over themselves: do it in a mount
// namespace of one's own.
const IDMap = "X-mount.idmap"

func idmapped(m Mount, target int, o options) (err error) {
	userns, err := unix.Open(o.idmap, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("user namespace %s: open: %w", o.idmap, err)
	}
	defer func() { err = errors.Join(err, unix.Close(userns)) }()
	switch {
	case o.set&unix.MS_REMOUNT != 0:
		return errors.New("option " + IDMap + ": not with remount")
	case o.bind:
		return bindMapped(m.Source, target, o.recursive, userns)
	case m.Type == "overlay":
		return overlayMapped(m.Source, target, o, userns)
	default:
		return errors.New("option " + IDMap + ": for bind mounts and overlays only")
	}
}

// bindMapped is bind with owners mapped.
func bindMapped(source string, target int, recursive bool, userns int) (err error) {
	tree, err := mappedTree(source, recursive, userns)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(tree)) }()
	return wrap("move_mount", unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

// mappedTree is a mount of source that is attached nowhere.
func mappedTree(source string, recursive bool, userns int) (tree int, err error) {
	how := uint(0)
	if recursive {
		how = unix.AT_RECURSIVE
	}
	tree, err = unix.OpenTree(unix.AT_FDCWD, source, how|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("%s: open_tree: %w", source, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)} //nolint:gosec // a descriptor
	if err := unix.MountSetattr(tree, "", how|unix.AT_EMPTY_PATH, &attr); err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: this kernel cannot map the owners of files on this file system", err)
		}
		return -1, errors.Join(fmt.Errorf("%s: map owners: %w", source, err), unix.Close(tree))
	}
	return tree, nil
}

// overlayMapped mounts an overlay of layers whose owners are mapped. They lie
// over the layers' own directories while overlayfs takes its copies, so that
// they have the names that the options give.
func overlayMapped(source string, target int, o options, userns int) (err error) {
	l, err := parseLayers(o.data)
	if err != nil {
		return err
	}
	dirs := slices.Clone(l.lower)
	top := ""
	if l.upper != "" {
		// One mount for both, as overlayfs wants it.
		if top = filepath.Dir(l.upper); top != filepath.Dir(l.work) {
			return fmt.Errorf("option %s: upperdir %s and workdir %s are not in one directory", IDMap, l.upper, l.work)
		}
		dirs = append(dirs, top)
	}
	// What lies within another is covered first: it could not be mapped twice.
	slices.Sort(dirs)
	slices.Reverse(dirs)
	var covered []string
	defer func() {
		for _, dir := range slices.Backward(covered) {
			err = errors.Join(err, wrap("uncover layer "+dir, unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)))
		}
	}()
	for _, dir := range slices.Compact(dirs) {
		if err := cover(dir, userns); err != nil {
			return err
		}
		covered = append(covered, dir)
	}
	if top == "" {
		return overlay(source, target, o)
	}
	return asOwner(top, func() error { return overlay(source, target, o) })
}

// cover mounts a directory over itself, mapped.
func cover(dir string, userns int) (err error) {
	tree, err := mappedTree(dir, false, userns)
	if err != nil {
		return fmt.Errorf("layer %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(tree)) }()
	return wrap("layer "+dir+": move_mount", unix.MoveMount(tree, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// asOwner calls f with the owner of a directory for file-system ids, and with
// all capabilities as before. Overlayfs makes its own files, such as whiteouts,
// as whoever mounted it: that must be somebody whom the mapping of the upper
// layer knows, which root is not.
func asOwner(dir string, f func() error) (err error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("%s: stat: %w", dir, err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&hdr, &caps[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	// The kernel takes the ids for a reason to hide the process from its like.
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	runtime.LockOSThread() // ids and capabilities are the thread's
	take := func(uid, gid int) error {
		if err := unix.Setfsgid(gid); err != nil {
			return fmt.Errorf("setfsgid: %w", err)
		}
		if err := unix.Setfsuid(uid); err != nil {
			return fmt.Errorf("setfsuid: %w", err)
		}
		return wrap("capset", unix.Capset(&hdr, &caps[0])) // setfsuid dropped some
	}
	defer func() {
		back := take(unix.Geteuid(), unix.Getegid())
		if back == nil {
			runtime.UnlockOSThread() // else nobody else may have the thread
		}
		if dumpable == 1 {
			back = errors.Join(back, wrap("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)))
		}
		err = errors.Join(err, back)
	}()
	if err := take(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return f()
}

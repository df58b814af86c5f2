package mount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// All performs mounts in order below the directory root. When one fails,
// those before it are undone.
func All(mounts []Mount, root string) error {
	for i, m := range mounts {
		if err := Do(m, root); err != nil {
			return errors.Join(err, undo(mounts[:i], root))
		}
	}
	return nil
}

// Do performs one mount. Its target is resolved below root as in a process
// whose root that is, so that no symbolic link there leads out of it.
func Do(m Mount, root string) error {
	if err := do(m, root); err != nil {
		return fmt.Errorf("mount %s %s on %s/%s: %w", m.Type, m.Source, strings.TrimRight(root, "/"), m.Target, err)
	}
	return nil
}

func do(m Mount, root string) (err error) {
	o, err := parse(m.Type, m.Options)
	if err != nil {
		return err
	}
	target, err := openTarget(root, m.Target)
	if err != nil {
		return fmt.Errorf("open the target: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(target)) }()
	switch {
	case o.idmap != "":
		err = idmapped(m, target, o)
	case o.bind:
		err = bind(m.Source, target, o)
	case m.Type == "overlay" && o.set&unix.MS_REMOUNT == 0:
		err = overlay(m.Source, target, o)
	default:
		err = unix.Mount(m.Source, fdPath(target), m.Type, o.set, strings.Join(o.data, ","))
		if errors.Is(err, unix.ENOTBLK) {
			err = fmt.Errorf("%w: %s on image files needs Linux 6.12 with file-backed mounts", err, m.Type)
		}
	}
	if err != nil || !o.later() {
		return err
	}
	return over(root, m.Target, o)
}

// later reports whether something is to be done on the mount once it is made.
func (o options) later() bool {
	return o.propagation != 0 || o.attrSet|o.attrClear != 0 ||
		o.bind && (o.set|o.clear)&mountFlags != 0 && o.set&unix.MS_REMOUNT == 0
}

// over changes what now lies on the target.
func over(root, path string, o options) (err error) {
	target, err := openTarget(root, path)
	if err != nil {
		return fmt.Errorf("open the mount: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(target)) }()
	if o.bind {
		if err := setFlags(target, o); err != nil {
			return err
		}
	}
	if o.attrSet|o.attrClear != 0 {
		attr := unix.MountAttr{Attr_set: o.attrSet, Attr_clr: o.attrClear}
		if err := unix.MountSetattr(target, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return fmt.Errorf("change the flags of the tree: %w", err)
		}
	}
	if o.propagation != 0 {
		if err := unix.Mount("", fdPath(target), "", o.propagation, ""); err != nil {
			return fmt.Errorf("change the propagation: %w", err)
		}
	}
	return nil
}

// openTarget opens path below root.
func openTarget(root, path string) (int, error) {
	flags := unix.O_PATH | unix.O_CLOEXEC
	fd, err := unix.Open(root, flags, 0)
	if err != nil || path == "" || path == "/" {
		return fd, err
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		sub, err := unix.Openat2(fd, strings.TrimLeft(path, "/"), &how)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue // a rename ran beside the resolution of ".."
		}
		return sub, errors.Join(err, unix.Close(fd))
	}
}

// undo unmounts the mounts, last first.
func undo(mounts []Mount, root string) error {
	var errs []error
	for i := len(mounts) - 1; i >= 0; i-- {
		fd, err := openTarget(root, mounts[i].Target)
		if err != nil {
			errs = append(errs, fmt.Errorf("undo mount on %s/%s: %w", root, mounts[i].Target, err))
			continue
		}
		// the descriptor holds the mount, hence lazily
		err = unix.Unmount(fdPath(fd), unix.MNT_DETACH)
		errs = append(errs, wrap("undo mount on "+root+"/"+mounts[i].Target, err), unix.Close(fd))
	}
	return errors.Join(errs...)
}

// Unmount detaches all mounts on target and below them. It is no error when
// there is none.
func Unmount(target string) error {
	for {
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
}

// With mounts on the directory dir, calls f with it and unmounts again,
// whatever f does. It is for the moment in which a stopped container's files
// are read or a layer is compared; call it in a mount namespace of one's own
// or expect others to see the mount.
func With(mounts []Mount, dir string, f func(root string) error) (err error) {
	if err := All(mounts, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, Unmount(dir)) }()
	return f(dir)
}

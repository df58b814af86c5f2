package archive

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// parent returns the directory name, made with its parents where missing: mode
// 0755, owned by root, as Docker makes them.
func (u *unpacker) parent(name string) (*dirent, error) {
	d, err := u.dirs.find(name)
	if err == nil {
		return d, u.markParent(name)
	}
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("parent directory %.256q: %w", name, parentError(err))
	}
	d, err = u.descend(name)
	if err != nil {
		return nil, fmt.Errorf("parent directory %.256q: %w", name, parentError(err))
	}
	return d, nil
}

// markParent notes that this archive has something below name, which a
// whiteout of name must spare.
func (u *unpacker) markParent(name string) error {
	if u.seen == nil || name == "." {
		return nil
	}
	up, base := split(name)
	d, err := u.parent(up)
	if err != nil {
		return err
	}
	u.seen.add(d.ino, base)
	return nil
}

// descend is parent for a name of which some part is missing. It goes down
// from what is known, step by step, since looking all prefixes up from the root
// takes quadratic time.
func (u *unpacker) descend(name string) (*dirent, error) {
	if d := u.dirs.known(name); d != nil {
		return d, nil
	}
	up, base := split(name)
	dir, err := u.descend(up)
	if err != nil {
		return nil, err
	}
	d, err := u.step(dir, name, base)
	if err != nil {
		return nil, err
	}
	u.seen.add(dir.ino, base)
	if len(u.dirs.dropped) > openDirsMax {
		return d, u.dirs.sweep() // those above are not needed any more
	}
	return d, nil
}

// step opens base in dir, and makes it when it is missing.
func (u *unpacker) step(dir *dirent, name, base string) (*dirent, error) {
	d, err := u.dirs.child(dir, name, base)
	if err == nil {
		return d, nil
	}
	made, err := u.makeDir(dir, base)
	if err != nil {
		return nil, err
	}
	if !made { // a symbolic link, or no directory
		return u.dirs.find(name)
	}
	d, err = u.dirs.child(dir, name, base)
	if err != nil {
		return nil, err
	}
	u.implicit[d.ino] = name
	delete(u.times, d.ino) // of one that had the number before
	if err := u.keep(name); err != nil {
		return nil, err
	}
	if dir.setgid() {
		if err := unix.Fchown(d.fd, 0, 0); err != nil {
			return nil, fmt.Errorf("change owner: %w", err)
		}
	}
	if err := unix.Fchmod(d.fd, 0o755); err != nil {
		return nil, fmt.Errorf("change mode: %w", err)
	}
	return d, nil
}

func parentError(err error) error {
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOENT) {
		return invalidBy(err, "no directory, or a link that leads to none")
	}
	return err
}

// makeDir makes directory base unless it is there; made says which. A whiteout
// in its place becomes an opaque directory.
func (u *unpacker) makeDir(dir *dirent, base string) (made bool, err error) {
	mkdir := func() error { return unix.Mkdirat(dir.fd, base, 0o755) }
	err = ignoringEINTR(mkdir)
	if !errors.Is(err, unix.EEXIST) {
		return err == nil, err
	}
	st, err := lstatAt(dir.fd, base)
	if err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false, err
	}
	if u.opts.Whiteouts != Overlay || !isOverlayWhiteout(st) {
		return false, nil // the caller learns by opening it
	}
	return true, u.makeOpaque(dir, base)
}

// makeOpaque puts an opaque directory in the place of what is there.
func (u *unpacker) makeOpaque(dir *dirent, base string) error {
	if err := u.remove(dir, base); err != nil {
		return err
	}
	if err := unix.Mkdirat(dir.fd, base, 0o755); err != nil {
		return err
	}
	return setOpaque(dir.path() + "/" + base)
}

// setOpaque marks a directory; path must not end in a link of the archive's.
func setOpaque(path string) error {
	if err := unix.Setxattr(path, opaqueXattr, []byte("y"), 0); err != nil {
		return fmt.Errorf("mark as opaque: %w", err)
	}
	return nil
}

func isOverlayWhiteout(st unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func lstatAt(dir int, base string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

package archive

import (
	"errors"
	"fmt"
	"hash/maphash"

	"golang.org/x/sys/unix"
)

// whiteout hides or removes what the lower layers have under the name, and
// nothing that this archive has, whichever comes first.
func (u *unpacker) whiteout(dir *dirent, parent, base string) error {
	if u.opts.Whiteouts == Overlay {
		return u.overlayWhiteout(dir, parent, base)
	}
	if !u.seen.has(dir.ino, base) {
		return u.remove(dir, base)
	}
	st, err := lstatAt(dir.fd, base)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	return u.removeLowerIn(dir, base)
}

func (u *unpacker) overlayWhiteout(dir *dirent, parent, base string) error {
	if _, ok := u.hiding[dir.ino]; !ok {
		u.hiding[dir.ino] = parent
		if err := u.keep(parent); err != nil {
			return err
		}
	}
	err := ignoringEINTR(func() error { return unix.Mknodat(dir.fd, base, unix.S_IFCHR, 0) })
	if !errors.Is(err, unix.EEXIST) {
		return wrap("make whiteout", err)
	}
	st, err := lstatAt(dir.fd, base)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err // hidden already by this archive's own file
	}
	return setOpaque(dir.path() + "/" + base)
}

// opaque hides or removes all that the lower layers have in dir.
func (u *unpacker) opaque(dir *dirent) error {
	if u.opts.Whiteouts == Overlay {
		return setOpaque(dir.path() + "/.")
	}
	return u.removeLower(dir)
}

// removeLower removes from dir what this archive did not make.
func (u *unpacker) removeLower(dir *dirent) error {
	names, err := readNames(dir.fd, 0)
	if err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	for _, base := range names {
		if !u.seen.has(dir.ino, base) {
			err = u.remove(dir, base)
		} else {
			err = u.removeLowerIn(dir, base)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeLowerIn is removeLower for base, when it is a directory.
func (u *unpacker) removeLowerIn(dir *dirent, base string) (err error) {
	fd, err := openRetry(func() (int, error) {
		return unix.Openat(dir.fd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	sub, err := newDirent(fd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	return errors.Join(u.removeLower(sub), u.leave(sub))
}

// seen is the set of names that an archive made, as hashes of the directory's
// inode number and the name: eight bytes an entry, whatever its length. A
// collision, one in 10^7 for a million entries, spares a file of a lower layer
// from a whiteout.
type seen struct {
	seed maphash.Seed
	set  map[uint64]struct{}
}

type name struct {
	dir  uint64
	base string
}

func newSeen() *seen { return &seen{seed: maphash.MakeSeed(), set: map[uint64]struct{}{}} }

func (s *seen) key(dir uint64, base string) uint64 {
	return maphash.Comparable(s.seed, name{dir, base})
}

func (s *seen) add(dir uint64, base string) {
	if s != nil {
		s.set[s.key(dir, base)] = struct{}{}
	}
}

func (s *seen) drop(dir uint64, base string) {
	if s != nil {
		delete(s.set, s.key(dir, base))
	}
}

func (s *seen) has(dir uint64, base string) bool {
	_, ok := s.set[s.key(dir, base)]
	return ok
}

func wrap(doing string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

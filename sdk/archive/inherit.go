package archive

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Inherit gives directories of an unpacked layer, those that Result.Implicit
// lists, the attributes that the layers below give them: owner, mode, extended
// attributes and time of modification. lower is sorted top first. Directories
// that the lower layers do not have, or that are hidden there, stay as they
// are.
func Inherit(upper string, lower, implicit []string) (err error) {
	below, err := openLayers(lower)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, below.close()) }()
	root, err := openDir(upper)
	if err != nil {
		return fmt.Errorf("layer %s: open: %w", upper, err)
	}
	defer func() { err = errors.Join(err, unix.Close(root)) }()
	for _, name := range implicit {
		if err := inheritOne(root, below, name); err != nil {
			return &EntryError{Entry: name, Err: fmt.Errorf("take the lower layers' attributes: %w", err)}
		}
	}
	return nil
}

func inheritOne(root int, below layers, name string) (err error) {
	fd, st, opaque, err := findIn(root, name)
	if err != nil || fd < 0 {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if opaque || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	from, st, err := below.find(name)
	if err != nil || from < 0 {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(from)) }()
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	return copyMeta(fdPath(from)+"/.", fdPath(fd)+"/.", st)
}

// copyMeta gives directory to the attributes of directory from.
func copyMeta(from, to string, st unix.Stat_t) error {
	attrs, err := xattrs(from)
	if err != nil {
		return err
	}
	if err := unix.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("change owner: %w", err)
	}
	if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
		return fmt.Errorf("change mode: %w", err)
	}
	for name, value := range attrs {
		if err := unix.Lsetxattr(to, name, []byte(value), 0); err != nil {
			return fmt.Errorf("set extended attribute %s: %w", name, err)
		}
	}
	ts := timespecs(time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix()))
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, ts[:], 0); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

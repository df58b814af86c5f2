package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Settle finishes an unpacked layer when the layers below it, top first, are
// known: what was pending is decided. It may be repeated.
func Settle(ctx context.Context, upper string, lower []string, p Pending) (err error) {
	w, err := openLevels(upper, lower)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for _, name := range p.Whiteouts {
		if err := w.visit(ctx, name, tidy); err != nil {
			return &EntryError{Entry: name, Err: fmt.Errorf("remove whiteouts of nothing: %w", err)}
		}
	}
	for _, name := range p.Implicit {
		if err := w.visit(ctx, name, inherit); err != nil {
			return &EntryError{Entry: name, Err: fmt.Errorf("take the lower layers' attributes: %w", err)}
		}
	}
	return nil
}

func openLevels(upper string, lower []string) (*levels, error) {
	fd, err := openDir(upper)
	if err != nil {
		return nil, fmt.Errorf("layer %s: open: %w", upper, err)
	}
	w := &levels{root: level{name: ".", upper: fd}}
	opaque, err := isOpaque(upper + "/.")
	if err == nil && !opaque {
		w.root.below, err = openLayers(lower)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *levels) visit(ctx context.Context, name string, f func(level) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	l, ok, err := w.enter(name)
	if err != nil || !ok {
		return err
	}
	return f(l)
}

// inherit gives a directory the attributes that it has in the lower layers:
// owner, mode, extended attributes and times.
func inherit(l level) error {
	if len(l.below) == 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(l.below[0], &st); err != nil {
		return err
	}
	return copyMeta(fdPath(l.below[0])+"/.", fdPath(l.upper)+"/.", st)
}

// tidy removes whiteouts from a directory that is merged with none below.
func tidy(l level) error {
	if len(l.below) > 0 || l.name == "." {
		return nil
	}
	return removeWhiteouts(l.upper)
}

func removeWhiteouts(dir int) (err error) {
	fd, err := openDir(fdPath(dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	var before unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return err
	}
	names, err := readNames(fd, 0)
	if err != nil {
		return err
	}
	for _, base := range names {
		st, err := lstatAt(fd, base)
		if err == nil && isOverlayWhiteout(st) {
			err = unix.Unlinkat(fd, base, 0)
		}
		if err != nil {
			return err
		}
	}
	return setFdTimes(fd, [2]unix.Timespec{before.Atim, before.Mtim})
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

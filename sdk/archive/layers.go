package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// merged are the open directories of lower layers that overlayfs shows as one,
// top first.
type merged []int

func openDir(path string) (int, error) {
	return openRetry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
}

// openLayers opens the roots of layers. Those below an opaque root do not
// count.
func openLayers(dirs []string) (merged, error) {
	var m merged
	for _, dir := range dirs {
		fd, err := openDir(dir)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("layer %s: open: %w", dir, err), m.close())
		}
		m = append(m, fd)
		opaque, err := isOpaque(dir + "/.")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("layer %s: %w", dir, err), m.close())
		}
		if opaque {
			break
		}
	}
	return m, nil
}

func (m merged) close() error {
	var errs []error
	for _, fd := range m {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// child looks base up in the directories. found says whether it exists; dirs
// are the directories merged under it, none when it is something else.
func (m merged) child(base string) (dirs merged, found bool, err error) {
	for _, dir := range m {
		fd, st, err := openPath(dir, base)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, false, errors.Join(fmt.Errorf("%s: look it up in the lower layers: %w", base, err), dirs.close())
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR { // hides what is below it
			return dirs, found || !isOverlayWhiteout(st), unix.Close(fd)
		}
		dirs, found = append(dirs, fd), true
		opaque, err := isOpaque(fdPath(fd) + "/.")
		if err != nil || opaque {
			return dirs, true, err
		}
	}
	return dirs, found, nil
}

// openPath opens base, whatever it is, without following a link.
func openPath(dir int, base string) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := openRetry(func() (int, error) {
		return unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, st, err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, st, errors.Join(err, unix.Close(fd))
	}
	return fd, st, nil
}

// level is one directory of an upper layer, with what is merged with it.
type level struct {
	name  string
	upper int
	below merged
}

func (l level) close() error { return errors.Join(unix.Close(l.upper), l.below.close()) }

// open opens the directory base below the level; ok is false when there is
// none.
func (l level) open(base string) (sub level, ok bool, err error) {
	fd, st, err := openPath(l.upper, base)
	if errors.Is(err, unix.ENOENT) {
		return level{}, false, nil
	}
	if err != nil {
		return level{}, false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return level{}, false, unix.Close(fd)
	}
	sub = level{name: join(l.name, base), upper: fd}
	opaque, err := isOpaque(fdPath(fd) + "/.")
	if err == nil && !opaque {
		sub.below, _, err = l.below.child(base)
	}
	if err != nil {
		return level{}, false, errors.Join(err, sub.close())
	}
	return sub, true, nil
}

// levelsMax bounds the levels that a walk keeps open.
const levelsMax = 32

// levels walks to directories by name. Names that come in order cost one step
// each.
type levels struct {
	root level
	way  []level // to the last directory; a deep way lacks its beginning
}

// enter returns the directory name; ok is false when there is none.
func (w *levels) enter(name string) (l level, ok bool, err error) {
	if name == "." {
		return w.root, true, nil
	}
	if err := w.leave(name); err != nil {
		return level{}, false, err
	}
	at := w.root
	rest := name
	if n := len(w.way); n > 0 {
		at = w.way[n-1]
		rest = strings.TrimPrefix(name[len(at.name):], "/")
	}
	for rest != "" {
		base, after, _ := strings.Cut(rest, "/")
		sub, ok, err := at.open(base)
		if err != nil || !ok {
			return level{}, false, err
		}
		w.way = append(w.way, sub)
		at, rest = sub, after
		if len(w.way) > levelsMax {
			if err := w.way[0].close(); err != nil {
				return level{}, false, err
			}
			w.way = slices.Delete(w.way, 0, 1)
		}
	}
	return at, true, nil
}

// leave closes the levels that are not on the way to name.
func (w *levels) leave(name string) error {
	var errs []error
	for n := len(w.way); n > 0; n = len(w.way) {
		last := w.way[n-1]
		if name == last.name || strings.HasPrefix(name, last.name+"/") {
			break
		}
		errs = append(errs, last.close())
		w.way = w.way[:n-1]
	}
	return errors.Join(errs...)
}

func (w *levels) close() error {
	errs := []error{w.root.close()}
	for _, l := range w.way {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

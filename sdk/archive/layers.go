package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// layers are the open roots of overlay layers, top first.
type layers []int

func openDir(path string) (int, error) {
	return openRetry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
}

func openLayers(dirs []string) (layers, error) {
	var l layers
	for _, dir := range dirs {
		fd, err := openDir(dir)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("layer %s: open: %w", dir, err), l.close())
		}
		l = append(l, fd)
	}
	return l, nil
}

func (l layers) close() error {
	var errs []error
	for _, fd := range l {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// has reports whether name exists in the merged layers.
func (l layers) has(name string) (bool, error) {
	fd, _, err := l.find(name)
	if err != nil || fd < 0 {
		return false, err
	}
	return true, unix.Close(fd)
}

// find returns an O_PATH descriptor of what the merged layers have under name,
// or -1 for nothing. No symbolic link is followed.
func (l layers) find(name string) (int, unix.Stat_t, error) {
	for _, root := range l {
		fd, st, last, err := findIn(root, name)
		if err != nil {
			return -1, st, fmt.Errorf("%s: look it up in the lower layers: %w", name, err)
		}
		if fd >= 0 || last {
			return fd, st, nil
		}
	}
	return -1, unix.Stat_t{}, nil
}

// findIn looks for name in one layer. last: layers below do not matter.
func findIn(root int, name string) (fd int, st unix.Stat_t, last bool, err error) {
	dir := root
	for _, c := range strings.Split(name, "/") {
		fd, err = openRetry(func() (int, error) {
			return unix.Openat(dir, c, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
		if dir != root {
			err = errors.Join(err, unix.Close(dir))
		}
		if errors.Is(err, unix.ENOENT) {
			return -1, st, last, nil
		}
		if errors.Is(err, unix.ENOTDIR) {
			return -1, st, true, nil
		}
		if err != nil {
			return -1, st, last, err
		}
		if err := unix.Fstat(fd, &st); err != nil {
			return -1, st, last, errors.Join(err, unix.Close(fd))
		}
		if isOverlayWhiteout(st) {
			return -1, st, true, unix.Close(fd)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			opaque, err := isOpaque(fdPath(fd) + "/.")
			if err != nil {
				return -1, st, last, errors.Join(err, unix.Close(fd))
			}
			last = last || opaque
		}
		dir = fd
	}
	return fd, st, last, nil
}

// sortObjects sorts by the names in the layer.
func sortObjects(objects []object, gone map[string]bool) {
	name := func(o object) string {
		if gone[o.base] {
			return whiteoutPrefix + o.base
		}
		return o.base
	}
	slices.SortFunc(objects, func(a, b object) int { return strings.Compare(name(a), name(b)) })
}

package mountns

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Guard makes all mounts of the calling thread's namespace read-only but for what
// is at and below the writable paths, which keeps its own state. A path that does
// not exist is none. It does nothing on kernels before 5.12, which cannot.
func Guard(writable []string) (err error) {
	writable = outermost(writable)
	trees := make([]int, 0, len(writable))
	defer func() {
		for _, fd := range trees {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	// Copies of what is to stay as it is, taken before the change, go on top
	// after it: flags that some of their mounts have are kept.
	const how = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE
	places := make([]string, 0, len(writable))
	for _, path := range writable {
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, how)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if errors.Is(err, unix.ENOSYS) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("copy the mounts at %s: %w", path, err)
		}
		trees, places = append(trees, fd), append(places, path)
	}
	err = unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, fd := range trees {
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, places[i], unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("put back the mounts at %s: %w", places[i], err)
		}
	}
	return nil
}

// outermost leaves out paths that are below others.
func outermost(paths []string) (out []string) {
	for _, p := range slices.Sorted(slices.Values(paths)) {
		if len(out) > 0 && (p == out[len(out)-1] || strings.HasPrefix(p, out[len(out)-1]+"/")) {
			continue
		}
		out = append(out, p)
	}
	return out
}

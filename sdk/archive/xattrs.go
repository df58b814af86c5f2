package archive

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrs reads the extended attributes of path, without following a link, but
// overlayfs's and the host's security label. The result is nil when there are
// none.
func xattrs(path string) (map[string]string, error) {
	names, err := growing(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	var attrs map[string]string
	for _, name := range strings.Split(strings.TrimSuffix(names, "\x00"), "\x00") {
		if name == "trusted.overlay.redirect" || name == "trusted.overlay.metacopy" {
			return nil, fmt.Errorf("the file is only a reference (%s): mount with redirect_dir=off,metacopy=off", name)
		}
		if name == "" || reservedXattr(name) || name == "security.selinux" {
			continue
		}
		value, err := growing(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s: %w", name, err)
		}
		if attrs == nil {
			attrs = map[string]string{}
		}
		attrs[name] = value
	}
	return attrs, nil
}

// growing reads with a buffer that grows as long as it is too small.
func growing(read func([]byte) (int, error)) (string, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := read(b)
		if errors.Is(err, unix.ERANGE) && size < 1<<20 {
			continue
		}
		if err != nil {
			return "", err
		}
		return string(b[:n]), nil
	}
}

func xattrRecords(path string) (map[string]string, error) {
	attrs, err := xattrs(path)
	if len(attrs) == 0 {
		return nil, err
	}
	records := make(map[string]string, len(attrs))
	for name, value := range attrs {
		records[paxXattr+name] = value
	}
	return records, nil
}

// isOpaque reports whether overlayfs takes the directory for opaque.
func isOpaque(path string) (bool, error) {
	var b [1]byte
	n, err := unix.Lgetxattr(path, opaqueXattr, b[:])
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the mark of opaque directories: %w", err)
	}
	return n == 1 && b[0] == 'y', nil
}

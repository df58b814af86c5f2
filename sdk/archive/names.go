package archive

import (
	"path"
	"strings"
)

// cleanName turns an entry's name into a path below the root, without "..",
// "." for the root itself.
func cleanName(name string) (string, error) {
	if len(name) > maxName {
		return "", invalid("name of %d bytes, the limit is %d", len(name), maxName)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", invalid("name with a NUL byte")
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", invalid("name leads out of the layer")
	}
	if err := reserved(clean); err != nil {
		return "", err
	}
	return clean, nil
}

// reserved refuses names that pass for a whiteout without being one.
func reserved(clean string) error {
	if !strings.Contains(clean, whiteoutPrefix) || aufsMeta(clean) {
		return nil
	}
	parent, base := split(clean)
	for _, c := range strings.Split(parent, "/") {
		if strings.HasPrefix(c, whiteoutPrefix) {
			return invalid("directory name %q has the prefix of a whiteout", c)
		}
	}
	switch base {
	case whiteoutPrefix, whiteoutPrefix + ".", whiteoutPrefix + "..":
		return invalid("whiteout of nothing")
	}
	return nil
}

// aufsMeta reports whether the name belongs to AUFS's own files, which old
// versions of Docker put into layers.
func aufsMeta(clean string) bool {
	if !strings.Contains(clean, metaPrefix) {
		return false
	}
	for _, c := range strings.Split(clean, "/") {
		if strings.HasPrefix(c, metaPrefix) && c != opaqueMarker {
			return true
		}
	}
	return false
}

func isWhiteout(base string) bool { return strings.HasPrefix(base, whiteoutPrefix) }

// split returns the parent, "." for the root, and the last component.
func split(clean string) (parent, base string) {
	i := strings.LastIndexByte(clean, '/')
	if i < 0 {
		return ".", clean
	}
	return clean[:i], clean[i+1:]
}

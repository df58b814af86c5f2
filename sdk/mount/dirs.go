package mount

import (
	"path/filepath"
	"slices"
	"strings"
)

// Dirs returns the directories that a bind mount or an overlay is made of: those
// that are written to, and those that are only read. Other types have none. It is
// for those who check what a driver hands out; nothing is looked up.
func Dirs(m Mount) (written, read []string) {
	switch m.Type {
	case "bind":
		if slices.Contains(m.Options, "ro") {
			return nil, []string{filepath.Clean(m.Source)}
		}
		return []string{filepath.Clean(m.Source)}, nil
	case "overlay":
	default:
		return nil, nil
	}
	for _, o := range m.Options {
		key, value, _ := strings.Cut(o, "=")
		switch strings.TrimSuffix(key, "+") {
		case "upperdir", "workdir":
			written = append(written, filepath.Clean(unescape(value)))
		case "lowerdir", "datadir":
			for _, dir := range splitLayers(value) {
				if dir != "" { // two colons in a row announce layers of data only
					read = append(read, filepath.Clean(dir))
				}
			}
		}
	}
	return written, read
}

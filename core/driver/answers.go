package driver

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/mount"
)

// An answer is believed only if it is about what was asked for. A driver that
// takes one thing for another would otherwise have the daemon record, hand back
// and show what belongs to somebody else.

// same refuses an answer that names another thing than the question did.
func same[T ~string](in *instance, method, what string, asked, got T) error {
	if asked == got {
		return nil
	}
	return in.wrong(method, "asked about %s %q, it answered about %q", what, asked, got)
}

func (in *instance) wrong(method, format string, args ...any) error {
	return fmt.Errorf("%s: %s: wrong answer: %s: %w", in.spec, method, fmt.Sprintf(format, args...), errdefs.ErrInternal)
}

// confined refuses mounts of directories that are not the driver's: neither below
// its state directory nor below one that its options name.
func (in *instance) confined(method string, mounts []mount.Mount) error {
	own := append([]string{in.stateDir()}, absolutePaths(in.settings().Options)...)
	for _, m := range mounts {
		written, read := mount.Dirs(m)
		for _, dir := range append(written, read...) {
			if !belowAny(dir, own) {
				return in.wrong(method, "a mount of %s, which is neither below %s nor below a directory that its options name", dir, in.stateDir())
			}
		}
	}
	return nil
}

func belowAny(dir string, roots []string) bool {
	for _, root := range roots {
		if below(dir, root) {
			return true
		}
	}
	for _, root := range roots { // a driver may know its directory by the name behind a link
		if real, err := filepath.EvalSymlinks(root); err == nil && below(dir, real) {
			return true
		}
	}
	return false
}

// below says that dir is in root, and is not root itself.
func below(dir, root string) bool {
	return strings.HasPrefix(dir, strings.TrimSuffix(filepath.Clean(root), "/")+"/")
}

// absolutePaths are the paths among the values of options.
func absolutePaths(options map[string]any) (paths []string) {
	for _, v := range options {
		switch v := v.(type) {
		case string:
			if filepath.IsAbs(v) {
				paths = append(paths, v)
			}
		case []any:
			for _, one := range v {
				paths = append(paths, absolutePaths(map[string]any{"": one})...)
			}
		case map[string]any:
			paths = append(paths, absolutePaths(v)...)
		}
	}
	return paths
}

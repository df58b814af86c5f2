package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// check refuses what cannot be honoured. An empty name stands for an
// anonymous volume, an empty driver for the local one.
func check(name, driver string, opts map[string]string) error {
	if driver != "" && driver != Local {
		return fmt.Errorf("volume %s: volume driver %q not found, this daemon has %q: %w", name, driver, Local, errdefs.ErrNotFound)
	}
	if name != "" && !ValidName(name) {
		return fmt.Errorf("create %s: %q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path: %w",
			name, name, errdefs.ErrInvalidArgument)
	}
	if len(opts) > 0 {
		return fmt.Errorf("volume %s: driver options %s are not supported by the local driver yet, mount the file system on the host and bind it: %w",
			name, strings.Join(slices.Sorted(maps.Keys(opts)), ", "), errdefs.ErrNotImplemented)
	}
	return nil
}

// ValidName says whether name can be a volume's: [a-zA-Z0-9][a-zA-Z0-9_.-]+.
func ValidName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return len(name) >= 2
}

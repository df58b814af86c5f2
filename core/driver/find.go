package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
)

// prefix is how the file names of a kind's binaries begin.
func prefix(k driver.Kind) string {
	short := map[driver.Kind]string{
		driver.Storage: "storage", driver.Runtime: "runtime", driver.Network: "net", driver.Registry: "registry",
	}
	return "strake-" + short[k] + "-"
}

// find returns the path of the binary that c asks for. ErrNotFound lists
// what there is and where it was looked for.
func find(s spec, c config.Driver, dirs []string) (string, error) {
	if c.Path != "" {
		return c.Path, nil
	}
	base := prefix(s.kind) + c.Driver
	for _, d := range dirs {
		p := filepath.Join(d, base)
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	have := "none"
	if found := discover(s.kind, dirs); len(found) > 0 {
		have = strings.Join(found, ", ")
	}
	return "", fmt.Errorf("%s: no driver of that name: looked for %s in %s; %s drivers found there: %s: %w",
		s, base, strings.Join(dirs, ", "), s.kind, have, errdefs.ErrNotFound)
}

// discover lists the names of a kind's drivers.
func discover(k driver.Kind, dirs []string) []string {
	var names []string
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil {
			continue // the directory is in the message already
		}
		for _, e := range entries {
			if n, ok := strings.CutPrefix(e.Name(), prefix(k)); ok && !e.IsDir() {
				names = append(names, n)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// libexec is the directory where drivers find their helpers.
func libexec(dirs []string) string {
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, "strake-shim")); err == nil {
			return d
		}
	}
	return dirs[0]
}

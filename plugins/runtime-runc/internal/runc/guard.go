package runc

import (
	"path/filepath"
	"slices"
	"strings"
)

// specMount is one of the specification's mounts.
type specMount struct {
	Destination, Type, Source string
	Options                   []string
}

func (m specMount) binds() bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// writable is what the OCI runtime has to write to, when one of the mounts goes
// into what another binds; else empty. Whoever else has the latter may make a link
// of a directory on the way while the runtime makes the place for the former, and
// runc before 1.1.14 makes it wherever the link leads (CVE-2024-45310). With the
// rest of the host read-only it cannot. own are paths of the runtime and the shim.
func writable(mounts []specMount, own ...string) []string {
	if !slices.ContainsFunc(mounts, func(m specMount) bool { return goesInto(m, mounts) }) {
		return nil
	}
	paths := append([]string{"/proc", "/sys/fs/cgroup"}, own...)
	for _, m := range mounts {
		if !m.binds() {
			continue
		}
		if filepath.Clean(m.Source) == "/" {
			return nil // the container may write to the host anyway
		}
		paths = append(paths, m.Source)
	}
	return paths
}

func goesInto(m specMount, mounts []specMount) bool {
	place := filepath.Clean(m.Destination)
	return slices.ContainsFunc(mounts, func(outer specMount) bool {
		return outer.binds() && strings.HasPrefix(place, strings.TrimSuffix(filepath.Clean(outer.Destination), "/")+"/")
	})
}

// Package cgstat finds the cgroups of a process and reads their counters, for
// both versions of cgroups.
package cgstat

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Groups are the directories of a process's cgroups.
type Groups struct {
	// V2 is the directory in the unified hierarchy, unless processors and
	// memory are controlled by version 1.
	V2 string
	// V1 are directories by controller.
	V1 map[string]string
}

// Of finds the cgroups of a container by one of its processes. They have id in
// their names: a cgroup that it shares with others, the root for example after
// somebody took its own away, is never taken for its own.
func Of(pid int, id string) (Groups, error) {
	g, err := of(pid, id)
	if err != nil {
		return Groups{}, fmt.Errorf("process %d: find cgroups: %w", pid, err)
	}
	return g, nil
}

func of(pid int, id string) (Groups, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return Groups{}, err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return Groups{}, err
	}
	g := Groups{V1: map[string]string{}}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		if own := within(f[2], id); own != "" {
			g.add(mounts, f[1], own)
		}
	}
	if g.V1["memory"] != "" || g.V1["cpu"] != "" {
		g.V2 = ""
	}
	return g, nil
}

// within cuts a path after the element that names the container; empty: none
// does.
func within(path, id string) string {
	parts := strings.Split(path, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		if id != "" && strings.Contains(parts[i], id) {
			return strings.Join(parts[:i+1], "/")
		}
	}
	return ""
}

// add finds where a line of /proc/<pid>/cgroup is mounted.
func (g *Groups) add(mounts []*mountinfo.Info, controllers, path string) {
	for _, m := range mounts {
		dir := filepath.Join(m.Mountpoint, strings.TrimPrefix(path, strings.TrimSuffix(m.Root, "/")))
		if controllers == "" && m.FSType == "cgroup2" {
			g.V2 = dir
		}
		if controllers == "" || m.FSType != "cgroup" {
			continue
		}
		for c := range strings.SplitSeq(controllers, ",") {
			if hasOption(m.VFSOptions, c) {
				g.V1[c] = dir
			}
		}
	}
}

func hasOption(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// Processes is a directory whose cgroup.procs, with those below it, name all
// processes; empty when the container has no cgroup of its own.
func (g Groups) Processes() string {
	if g.V2 != "" {
		return g.V2
	}
	for _, c := range []string{"devices", "freezer", "pids", "cpu", "memory"} {
		if d := g.V1[c]; d != "" {
			return d
		}
	}
	return ""
}

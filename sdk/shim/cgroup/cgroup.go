// Package cgroup finds the cgroups of a container and looks after them: which
// processes are in them, whether the kernel killed one for memory, and their
// end.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Group is a container's cgroup, of version 2 or 1. The zero value is none.
type Group struct {
	// All are the directories in all hierarchies.
	All []string `json:"all,omitempty"`
	// Procs is the one whose cgroup.procs name all processes.
	Procs string `json:"procs,omitempty"`
	// Memory is the directory of the memory controller; empty: none.
	Memory string `json:"memory,omitempty"`
	// V2 is the version of Memory.
	V2 bool `json:"v2,omitempty"`
}

// preferred v1 controllers to list processes from; all that a runtime uses
// have the same processes.
var preferred = [...]string{"devices", "freezer", "pids", "cpu", "memory", "name=systemd"}

// Mounts are the places where hierarchies are mounted, by controller; "" is
// version 2.
type Mounts map[string]hierarchy

type hierarchy struct{ point, root string }

// last is what Mounted found. The table of mounts is long where many containers
// are; which hierarchies there are is a short one.
var last struct {
	sync.Mutex
	inUse  string
	mounts Mounts
}

// Mounted finds the hierarchies. It is safe for concurrent use.
func Mounted() (Mounts, error) {
	inUse, err := inUse("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cgroup mounts: %w", err)
	}
	last.Lock()
	defer last.Unlock()
	if last.mounts != nil && last.inUse == inUse {
		return last.mounts, nil
	}
	m, err := hierarchies("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroup mounts: %w", err)
	}
	last.inUse, last.mounts = inUse, m
	return m, nil
}

// inUse are the hierarchies' numbers and controllers.
func inUse(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var ids strings.Builder
	for line := range strings.Lines(string(b)) {
		if i := strings.LastIndex(line, ":/"); i >= 0 {
			ids.WriteString(line[:i] + "\n")
		}
	}
	return ids.String(), nil
}

// Of finds the cgroup of a process. It must have id in its name, so that a
// cgroup that the container shares with others is never taken for its own.
func (mounts Mounts) Of(pid int, id string) (Group, error) {
	paths, err := membership("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return Group{}, fmt.Errorf("process %d: cgroup: %w", pid, err)
	}
	dir := func(controller string) string {
		m, ok := mounts[controller]
		p := paths[controller]
		if !ok || !strings.Contains(filepath.Base(p), id) {
			return ""
		}
		return filepath.Join(m.point, strings.TrimPrefix(p, strings.TrimSuffix(m.root, "/")))
	}
	var all []string
	for controller := range paths {
		if d := dir(controller); d != "" && !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	g := Group{All: all, Memory: dir("memory"), Procs: dir("")}
	if g.Memory == "" { // where both versions are in use, memory is in one
		g.Memory, g.V2 = g.Procs, true
	}
	for _, c := range preferred {
		if d := dir(c); d != "" {
			g.Procs = d
			break
		}
	}
	return g, nil
}

// membership maps controllers to paths; "" is version 2.
func membership(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(f) == 3 {
			for c := range strings.SplitSeq(f[1], ",") {
				paths[c] = f[2]
			}
		}
	}
	return paths, nil
}

func hierarchies(mountinfo string) (Mounts, error) {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, err
	}
	found := Mounts{}
	for line := range strings.Lines(string(b)) {
		pre, post, ok := strings.Cut(line, " - cgroup")
		if !ok {
			continue
		}
		f, g := strings.Fields(pre), strings.Fields(post)
		if len(f) < 5 || len(g) < 2 {
			continue
		}
		h := hierarchy{point: f[4], root: f[3]}
		if strings.HasPrefix(post, "2 ") {
			found[""] = h
			continue
		}
		for o := range strings.SplitSeq(g[len(g)-1], ",") {
			found[o] = h
		}
	}
	return found, nil
}

// Processes returns the pids in the cgroup and those below it.
func (g Group) Processes() (pids []int, err error) {
	if g.Procs == "" {
		return nil, nil
	}
	return Processes(g.Procs)
}

// Processes returns the pids in a directory of cgroups and those below it; none
// when there is no such directory.
func Processes(dir string) (pids []int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		}
		more, err := readPids(filepath.Join(path, "cgroup.procs"))
		pids = append(pids, more...)
		return err
	})
	return pids, err
}

func readPids(file string) (pids []int, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	for f := range bytes.FieldsSeq(b) {
		pid, err := strconv.Atoi(string(f))
		if err != nil {
			return nil, err
		}
		if pid > 0 { // 0 stands for one outside of our pid namespace, and to kill for ourselves
			pids = append(pids, pid)
		}
	}
	return pids, err
}

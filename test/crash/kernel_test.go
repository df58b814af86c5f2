package crash

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkKernel compares processes, cgroups, mounts and links with the containers.
func (w *world) checkKernel(all map[string]container) (wrong []string) {
	alive := map[string]bool{}
	for id, c := range all {
		switch {
		case c.alive():
			alive[id] = true
		case c.State.Pid != 0:
			wrong = append(wrong, fmt.Sprintf("container %s is %s and has pid %d", c.Name, c.State.Status, c.State.Pid))
		}
		if s := c.State.Status; s == "removing" || s == "dead" {
			wrong = append(wrong, fmt.Sprintf("container %s is %s: %s", c.Name, s, c.State.Error))
		}
	}
	wrong = append(wrong, w.checkProcesses(all, alive)...)
	wrong = append(wrong, differ("cgroup", w.cgroups(), alive)...)
	wrong = append(wrong, differ("network namespace", listed(w.h.Dir+"/run/netns"), alive)...)
	wrong = append(wrong, w.checkMounts(alive)...)
	return append(wrong, w.checkNetwork(all)...)
}

// differ lists what is on one side only.
func differ(what string, have, want map[string]bool) (wrong []string) {
	for id := range have {
		if !want[id] {
			wrong = append(wrong, what+" of a container that does not run: "+id)
		}
	}
	for id := range want {
		if !have[id] {
			wrong = append(wrong, what+" missing of running container "+id)
		}
	}
	slices.Sort(wrong)
	return wrong
}

func listed(dir string) map[string]bool {
	names := map[string]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return map[string]bool{err.Error(): true}
	}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}

// process is one on behalf of the host.
type process struct {
	pid    int
	name   string // of shims, runtimes and drivers; "" for containers' own
	of     string // the container
	zombie bool
}

// processes are those of the host's daemon, drivers, shims, runtimes and
// containers.
func (w *world) processes() (found []process) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range dirs {
		var pid int
		if _, err := fmt.Sscanf(d.Name(), "%d", &pid); err != nil {
			continue
		}
		args, err := os.ReadFile("/proc/" + d.Name() + "/cmdline")
		if err != nil {
			continue
		}
		argv := strings.Split(string(args), "\x00")
		switch name := filepath.Base(argv[0]); {
		case name == "strake-shim" && len(argv) > 2 && strings.HasPrefix(argv[2], w.h.Dir+"/") && argv[1] == "vacant":
			found = append(found, process{pid: pid, name: "spare"})
			continue
		case name == "strake-shim" && len(argv) > 2 && strings.HasPrefix(argv[2], w.h.Dir+"/"):
			found = append(found, process{pid: pid, name: name, of: filepath.Base(argv[2])})
			continue
		case (name == "runc" || name == "crun") && bytes.Contains(args, []byte(w.h.Dir+"/")):
			found = append(found, process{pid: pid, name: name})
			continue
		}
		groups, err := os.ReadFile("/proc/" + d.Name() + "/cgroup")
		if err != nil {
			continue
		}
		if _, after, ok := strings.Cut(string(groups), w.h.Cgroup()+"/"); ok {
			id, _, _ := strings.Cut(after, "\n")
			found = append(found, process{pid: pid, of: id, zombie: len(args) == 0})
		}
	}
	return found
}

func (w *world) checkProcesses(all map[string]container, alive map[string]bool) (wrong []string) {
	shims, own := map[string]int{}, map[string]bool{}
	spares := 0
	first := map[int]string{}
	for _, p := range w.processes() {
		switch p.name {
		case "strake-shim":
			shims[p.of]++
		case "spare":
			spares++
		case "":
			own[p.of] = true
			first[p.pid] = p.of
		default:
			wrong = append(wrong, fmt.Sprintf("%s runs (%d)", p.name, p.pid))
		}
	}
	if spares > 1 {
		wrong = append(wrong, fmt.Sprintf("%d spare shims", spares))
	}
	have := map[string]bool{}
	for id, n := range shims {
		have[id] = true
		if n > 1 {
			wrong = append(wrong, fmt.Sprintf("%d shims of container %s", n, id))
		}
	}
	wrong = append(wrong, differ("shim", have, alive)...)
	wrong = append(wrong, differ("process", own, alive)...)
	for id := range alive {
		if pid := all[id].State.Pid; first[pid] != id {
			wrong = append(wrong, fmt.Sprintf("container %s: process %d is not its own", all[id].Name, pid))
		}
	}
	return wrong
}

// cgroups are those below the host's, by name.
func (w *world) cgroups() map[string]bool {
	found := map[string]bool{}
	parents, err := filepath.Glob("/sys/fs/cgroup/*" + w.h.Cgroup())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range append(parents, "/sys/fs/cgroup"+w.h.Cgroup()) {
		filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != p {
				rel, _ := filepath.Rel(p, path)
				id, _, _ := strings.Cut(rel, "/")
				found[id] = true
			}
			return nil // cgroups vanish while one looks
		})
	}
	return found
}

// checkMounts demands one for each namespace, and the directory of those.
func (w *world) checkMounts(alive map[string]bool) (wrong []string) {
	text, err := w.h.Mountinfo()
	if err != nil {
		w.t.Fatal(err)
	}
	pins := map[string]int{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.HasPrefix(f[4], w.h.Dir+"/") {
			continue
		}
		rest := strings.TrimPrefix(f[4], w.h.Dir+"/")
		switch id, isPin := strings.CutPrefix(rest, "run/netns/"); {
		case isPin:
			pins[id]++
		case rest != "run/netns" && rest != "state":
			wrong = append(wrong, "mount "+line)
		}
	}
	have := map[string]bool{}
	for id, n := range pins {
		have[id] = true
		if n > 1 {
			wrong = append(wrong, fmt.Sprintf("namespace of %s is mounted %d times", id, n))
		}
	}
	return append(wrong, differ("mount of the namespace", have, alive)...)
}

// apart lists what is on one side only.
func apart(what string, have, want map[string]bool) (wrong []string) {
	for x := range have {
		if !want[x] {
			wrong = append(wrong, what+" left: "+x)
		}
	}
	for x := range want {
		if !have[x] {
			wrong = append(wrong, what+" missing: "+x)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// rules are the lines of the firewall.
func (w *world) rules() (out []string) {
	for line := range strings.Lines(w.h.FirewallRules()) {
		if l := strings.TrimSpace(line); l != "" {
			out = append(out, l)
		}
	}
	return out
}

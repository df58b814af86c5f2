package testkit

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// Leaks lists what exists on the machine on behalf of this host: processes with
// its directory in their arguments (its registry aside), mounts below it,
// cgroups of its own, and links in its namespace that it did not begin with.
// Each entry is a line for people to read.
func (h *Host) Leaks() []string {
	h.tb.Helper()
	var found []string
	for _, look := range []func() ([]string, error){h.processes, h.mounts, h.cgroups, h.links} {
		l, err := look()
		if err != nil {
			h.tb.Fatalf("look for leaks: %v", err)
		}
		found = append(found, l...)
	}
	return found
}

func (h *Host) processes() (found []string, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		args, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err != nil {
			continue // it ended
		}
		line := string(bytes.ReplaceAll(args, []byte{0}, []byte{' '}))
		if strings.Contains(line, h.Dir) && !strings.HasPrefix(line, "docker-registry ") {
			found = append(found, "process "+filepath.Base(d)+": "+line)
		}
	}
	return found, nil
}

func (h *Host) mounts() (found []string, err error) {
	all, err := h.Mountinfo()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(all) {
		if strings.Contains(line, h.Dir) && !strings.Contains(line, h.Dir+"/subid") {
			found = append(found, "mount "+strings.TrimSuffix(line, "\n"))
		}
	}
	return found, nil
}

// Mountinfo is the table of the mount namespace that the daemon is in, as
// proc_pid_mountinfo(5) has it.
func (h *Host) Mountinfo() (string, error) {
	var text []byte
	err := onThread(func() (err error) {
		if h.enter != nil {
			if err := h.enter(); err != nil {
				return err
			}
		}
		text, err = os.ReadFile("/proc/thread-self/mountinfo")
		return err
	})
	return string(text), err
}

// everyHierarchy is where a cgroup may be: below each hierarchy of v1, and in v2's.
func everyHierarchy(cgroup string) ([]string, error) {
	paths, err := filepath.Glob("/sys/fs/cgroup/*" + cgroup)
	return append(paths, "/sys/fs/cgroup"+cgroup), err
}

func (h *Host) cgroups() (found []string, err error) {
	parents, err := everyHierarchy(h.cgroup)
	if err != nil {
		return nil, err
	}
	for _, p := range parents {
		err := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				found = append(found, "cgroup "+path)
			}
			return nil // cgroups vanish while one looks
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (h *Host) links() (found []string, err error) {
	err = h.ns.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			switch name := l.Attrs().Name; name {
			case "lo", "ext0", "ext1", "ifb0", "ifb1":
			default:
				found = append(found, fmt.Sprintf("link %s (%s)", name, l.Type()))
			}
		}
		return err
	})
	return found, err
}

// FirewallRules returns what is in the namespace's firewall, in nft's words;
// chains and tables without a rule do not count.
func (h *Host) FirewallRules() string {
	h.tb.Helper()
	r := h.Run(h.Command("nft", "list", "ruleset"))
	if r.Code != 0 {
		h.tb.Fatalf("nft list ruleset: %s", r.Stderr)
	}
	return r.Out()
}

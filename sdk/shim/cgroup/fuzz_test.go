package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzFiles reads what the kernel says about a process's cgroups, of which
// containers choose parts of the names.
func FuzzFiles(f *testing.F) {
	f.Add("12:cpu,cpuacct:/strake/x\n1:name=systemd:/a b\n0::/strake/x\n", "30 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "1\n2\n")
	f.Add("0::/\n", "25 30 0:23 /a /sys/fs/cgroup rw shared:4 - cgroup2 none rw\n", "")
	f.Add(":::\n", " - cgroup2 \n", "-1\nx\n99999999999999999999\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, groups, mounts, procs string) {
		for name, text := range map[string]string{"cgroup": groups, "mountinfo": mounts, "cgroup.procs": procs} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := membership(filepath.Join(dir, "cgroup")); err != nil {
			t.Error(err)
		}
		if _, err := hierarchies(filepath.Join(dir, "mountinfo")); err != nil {
			t.Error(err)
		}
		pids, err := readPids(filepath.Join(dir, "cgroup.procs"))
		for _, p := range pids {
			if err == nil && p <= 0 {
				t.Errorf("%q names process %d", procs, p)
			}
		}
	})
}

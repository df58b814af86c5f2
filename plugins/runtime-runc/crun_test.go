package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/conformance"
)

// inside marks the process that runs in a mount namespace of its own.
const inside = "STRAKE_TEST_CRUN_INSIDE"

// TestConformanceWithCrun runs in a mount namespace with its own view of
// /sys/fs/cgroup: Debian's crun needs the hugetlb controller to be mounted,
// which is not so everywhere.
func TestConformanceWithCrun(t *testing.T) {
	t.Parallel()
	if os.Getenv(inside) == "" {
		self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		self.Env = append(os.Environ(), inside+"=1")
		self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if out, err := self.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	ownCgroupView(t)
	c := conformance.TestConfig(t, `{"binary": "crun", "shim_cgroup": ""}`)
	c.Libexec = libexec(t)
	made, err := conformance.Direct(t.Context(), newDriver, c)
	s := conformance.Opened(t, made, err)
	conformance.RunTest(t, oneOfEachSort(conformance.RuntimeCases(s, conformance.RuntimeEnv{KillMonitor: killShim})))
}

// ownCgroupView puts a new directory with all hierarchies over /sys/fs/cgroup.
func ownCgroupView(t *testing.T) {
	t.Helper()
	must := func(err error, doing string) {
		if err != nil {
			t.Fatalf("%s: %v", doing, err)
		}
	}
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), "make mounts private")
	old, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	must(err, "read mounts")
	view, root := t.TempDir(), "/sys/fs/cgroup"
	must(unix.Mount("tmpfs", view, "tmpfs", 0, "mode=755"), "mount view")
	hugetlb := true
	for _, m := range old {
		name, below := strings.CutPrefix(m.Mountpoint, root+"/")
		if !below { // one hierarchy, of version 2: nothing to add
			must(unix.Unmount(view, unix.MNT_DETACH), "unmount view")
			return
		}
		hugetlb = hugetlb && name != "hugetlb"
		dir := filepath.Join(view, name)
		must(os.MkdirAll(dir, 0o755), "make directory")
		must(unix.Mount(m.Mountpoint, dir, "", unix.MS_BIND, ""), "bind "+name)
	}
	if hugetlb {
		dir := filepath.Join(view, "hugetlb")
		must(os.Mkdir(dir, 0o755), "make directory")
		if err := unix.Mount("cgroup", dir, "cgroup", 0, "hugetlb"); err != nil && !errors.Is(err, unix.EBUSY) {
			t.Fatal(err)
		}
	}
	must(unix.Mount(view, root, "", unix.MS_MOVE, ""), "move view")
}

package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/runtime"
)

// spares are the processes of spare shims for a run directory.
func spares(t testing.TB, runDir string) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/cmdline")
		a := strings.Split(string(b), "\x00")
		if err == nil && len(a) >= 3 && a[0] == "strake-shim" && a[1] == "vacant" && strings.HasPrefix(a[2], runDir+"/") {
			pid, err := strconv.Atoi(filepath.Base(d))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// spare waits for the one spare that there shall be.
func spare(t testing.TB, runDir string) (pid int) {
	t.Helper()
	eventually(t, "there is a spare shim", func() bool {
		s := spares(t, runDir)
		if len(s) == 1 {
			pid = s[0]
		}
		return len(s) == 1
	})
	return pid
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// ended says that a process has, be it reaped or not.
func ended(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

func TestASpareBecomesTheShimOfAContainer(t *testing.T) {
	x := newBench(t)
	first := spare(t, x.conf.RunDir)
	bundle := x.bundle("spared", "sleep", "1000")
	x.run("spared", bundle, runtime.IO{})
	pid, err := findShim("spared")
	x.must(err)
	if pid != first {
		t.Errorf("the shim is process %d, not the spare %d", pid, first)
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	x.must(err)
	if got, want := strings.TrimRight(string(cmdline), "\x00"), "strake-shim\x00create\x00"+x.conf.RunDir+"/c/spared"; got != want {
		t.Errorf("its arguments are %q, not %q", got, want)
	}
	if next := spare(t, x.conf.RunDir); next == first {
		t.Errorf("process %d is a spare again", next)
	}
	x.delete("spared")
	eventually(t, "the shim ends", func() bool { return ended(first) })
}

// The host's mounts are those of the moment when the container is made, though
// its shim is older, also where mounts do not propagate.
func TestASpareSeesWhatWasMountedWhileItWaited(t *testing.T) {
	x := newBench(t)
	bundle := x.bundle("later", "true")
	root := bundle + "/rootfs"
	x.must(os.Rename(root, bundle+"/content"))
	x.must(os.Mkdir(root, 0o755))
	waiting := spare(t, x.conf.RunDir)
	time.Sleep(500 * time.Millisecond) // all that it does ahead is done
	x.must(unix.Mount(bundle+"/content", root, "", unix.MS_BIND, ""))
	t.Cleanup(func() { x.must(unix.Unmount(root, unix.MNT_DETACH)) })
	x.run("later", bundle, runtime.IO{})
	x.wait("later")
	x.delete("later")
	eventually(t, "the spare that was used ends", func() bool { return ended(waiting) })
	table, err := os.ReadFile("/proc/self/mountinfo")
	x.must(err)
	if n := strings.Count(string(table), root); n != 1 {
		t.Errorf("the host has %d mounts of the container's root", n)
	}
}

func TestASpareOfAReplacedProgramIsNotUsed(t *testing.T) {
	programs := t.TempDir()
	put := func() {
		data, err := os.ReadFile(conformance.Build(t, "github.com/strakehq/strake/cmd/strake-shim"))
		if err == nil {
			err = os.WriteFile(programs+"/new", data, 0o755)
		}
		if err := errors.Join(err, os.Rename(programs+"/new", programs+"/strake-shim")); err != nil {
			t.Fatal(err)
		}
	}
	put()
	x := benchOf(t, programs, `{"shim_cgroup": ""}`)
	old := spare(t, x.conf.RunDir)
	put()
	x.run("upgraded", x.bundle("upgraded", "sleep", "1000"), runtime.IO{})
	pid, err := findShim("upgraded")
	x.must(err)
	if pid == old {
		t.Errorf("process %d of the old program was used", pid)
	}
	if !ended(old) {
		t.Errorf("the spare of the old program lives")
	}
	x.delete("upgraded")
}

func TestThereAreAsManySparesAsTheOptionSays(t *testing.T) {
	x := benchOf(t, libexec(t), `{"shim_cgroup": "", "spare_shims": 3}`)
	eventually(t, "there are three spares", func() bool { return len(spares(t, x.conf.RunDir)) == 3 })
	none := x.conf
	none.Options = []byte(`{"shim_cgroup": "", "spare_shims": 0}`)
	x.must(x.d.Configure(t.Context(), none))
	if left := spares(t, x.conf.RunDir); len(left) > 0 {
		t.Errorf("spares %v are left", left)
	}
	x.run("alone", x.bundle("alone", "true"), runtime.IO{})
	x.wait("alone")
	x.delete("alone")
	time.Sleep(200 * time.Millisecond)
	if left := spares(t, x.conf.RunDir); len(left) > 0 {
		t.Errorf("there are spares %v", left)
	}
}

// A spare that was stopped costs a wait, and is replaced.
func TestAHungSpareIsReplaced(t *testing.T) {
	t.Parallel()
	x := newBench(t)
	hung := spare(t, x.conf.RunDir)
	x.must(unix.Kill(hung, unix.SIGSTOP))
	x.run("patient", x.bundle("patient", "sleep", "1000"), runtime.IO{})
	if !ended(hung) {
		t.Errorf("the hung spare lives")
	}
	x.delete("patient")
}

func TestSparesEndWithTheirDriver(t *testing.T) {
	c := conformance.TestConfig(t, `{"shim_cgroup": ""}`)
	c.Libexec = libexec(t)
	s, err := conformance.Binary[runtime.Driver](t.Context(), conformance.BinaryConfig{
		Path: conformance.Build(t, "github.com/strakehq/strake/plugins/runtime-runc"), Config: c, Kills: true,
	})
	s = conformance.Opened(t, s, err)
	first := spare(t, c.RunDir)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the spare of a killed driver ends", func() bool { return ended(first) })

	hung := spare(t, c.RunDir)
	if err := unix.Kill(hung, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its successor ends one that hangs", func() bool { return ended(hung) })
	spare(t, c.RunDir)
}

package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Dockerd is Debian's docker.io beside the daemon, in the same namespace and
// with everything of its own below the host's directory.
type Dockerd struct {
	h *Host
	// Socket is its API's unix socket.
	Socket string
	// Pid is its process id.
	Pid int
}

// StartDockerd starts Debian's dockerd with further arguments. It ends with the
// test.
func (h *Host) StartDockerd(args ...string) *Dockerd {
	h.tb.Helper()
	dir := filepath.Join(h.Dir, "docker")
	d := &Dockerd{h: h, Socket: filepath.Join(dir, "docker.sock")}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		h.tb.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		h.tb.Fatal(err)
	}
	parent := h.cgroup + "-docker"
	cmd := exec.Command("/usr/sbin/dockerd", append(args, "-H", "unix://"+d.Socket, "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "--cgroup-parent", parent)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.ns.Start(cmd); err != nil {
		h.tb.Fatalf("start dockerd (test/demo/packages installs docker.io): %v", err)
	}
	d.Pid = cmd.Process.Pid
	h.tb.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			h.tb.Error(err)
		}
		cmd.Wait() // its exit code says nothing here
		log.Close()
		dropCgroup(h.tb, parent)
	})
	h.Eventually(30*time.Second, "dockerd answers", func() bool { return d.Run("version").Code == 0 })
	return d
}

// Run runs Debian's docker CLI against it.
func (d *Dockerd) Run(args ...string) Result {
	d.h.tb.Helper()
	return d.h.Run(d.h.Command("/usr/bin/docker", append([]string{"-H", "unix://" + d.Socket}, args...)...))
}

// dropCgroup removes a parent of cgroups that dockerd made and leaves behind,
// from every hierarchy.
func dropCgroup(tb testing.TB, parent string) {
	tb.Helper()
	paths, err := everyHierarchy(parent)
	if err != nil {
		tb.Error(err)
	}
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !os.IsNotExist(err) {
			tb.Errorf("dockerd's cgroup: %v", err)
		}
	}
}

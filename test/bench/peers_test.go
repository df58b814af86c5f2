package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// engine is one way of asking an engine for something.
type engine struct {
	name string
	run  func(args ...string) testkit.Result
}

// must runs a command that has to succeed.
func (e engine) must(b *testing.B, args ...string) string {
	b.Helper()
	r := e.run(args...)
	if r.Code != 0 {
		b.Fatalf("%s %v: exit code %d: %s", e.name, args, r.Code, r.Stderr)
	}
	return r.Out()
}

// engines starts all engines within one host's namespace. Images have the same
// names everywhere.
func engines(b *testing.B, h *testkit.Host) (strake, strakeByDocker, docker engine, dockerd int) {
	b.Helper()
	socket, pid := startDocker(b, h)
	strake = engine{"strake", h.Strake}
	strakeByDocker = engine{"strake-by-docker-cli", h.Docker}
	docker = engine{"docker.io", func(args ...string) testkit.Result {
		return h.Run(h.Command("/usr/bin/docker", append([]string{"-H", "unix://" + socket}, args...)...))
	}}
	return strake, strakeByDocker, docker, pid
}

// startDocker starts Debian's dockerd with everything of its own below the
// host's directory.
func startDocker(b *testing.B, h *testkit.Host) (socket string, pid int) {
	b.Helper()
	dir := filepath.Join(h.Dir, "docker")
	socket = filepath.Join(dir, "docker.sock")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/dockerd", "-H", "unix://"+socket, "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "--cgroup-parent", "/strake-bench-docker")
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.Namespace().Start(cmd); err != nil {
		b.Fatalf("start dockerd (make bench installs docker.io): %v", err)
	}
	b.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			b.Error(err)
		}
		cmd.Wait() // its exit code says nothing here
		log.Close()
	})
	h.Eventually(30*time.Second, "dockerd answers", func() bool {
		return h.Run(h.Command("/usr/bin/docker", "-H", "unix://"+socket, "version")).Code == 0
	})
	return socket, cmd.Process.Pid
}

// sample collects durations by engine.
type sample map[string][]time.Duration

// interleave measures f with each engine in turn, n times, after one warm-up.
func interleave(n int, list []engine, f func(e engine) time.Duration) sample {
	s := sample{}
	for i := range n + 1 {
		for _, e := range list {
			if d := f(e); i > 0 {
				s[e.name] = append(s[e.name], d)
			}
		}
	}
	return s
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// report gives medians in milliseconds and how many times as fast as docker.io
// each engine is.
func (s sample) report(b *testing.B, what string) {
	b.Helper()
	base := median(s["docker.io"])
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range s {
			if !yield(n) {
				return
			}
		}
	}) {
		m := median(s[name])
		b.Logf("%-28s %-22s median %8.1f ms  p90 %8.1f ms  %5.2f times docker.io's speed", what, name, ms(m), ms(p90(s[name])), float64(base)/float64(m))
		b.ReportMetric(ms(m), name+"-ms")
	}
}

func sorted(d []time.Duration) []time.Duration { return slices.Sorted(slices.Values(d)) }

func median(d []time.Duration) time.Duration { return sorted(d)[len(d)/2] }

func p90(d []time.Duration) time.Duration { return sorted(d)[len(d)*9/10] }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

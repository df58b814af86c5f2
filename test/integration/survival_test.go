package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// counter prints a number every 20 ms; its log shows gaps and doubles.
const counter = `i=0; while true; do i=$((i+1)); echo line $i; sleep 0.02; done`

func TestContainersServeAndLogWhileTheDaemonIsDead(t *testing.T) {
	h := testkit.Start(t)
	web := h.MustDocker("run", "-d", "-p", "8080:80", "nginx")
	count := h.MustDocker("run", "-d", "--name", "count", "busybox", "sh", "-c", counter)
	ends := h.MustDocker("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 0.5; exit 7")
	again := h.MustDocker("run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", "sleep 0.5; exit 3")
	wantNginx(t, h, "http://127.0.0.1:8080/")
	h.Kill()

	wantNginx(t, h, "http://127.0.0.1:8080/")
	h.Eventually(10*time.Second, "the short containers have ended", func() bool { return !hasProcess(h, ends) })
	h.Start()

	wantNginx(t, h, "http://127.0.0.1:8080/")
	wantState(t, h, web, "running", 0)
	wantState(t, h, ends, "exited", 7)
	h.Eventually(10*time.Second, "the restart policy starts it again", func() bool {
		n, err := strconv.Atoi(h.MustDocker("inspect", "-f", "{{.RestartCount}}", again))
		return err == nil && n > 0
	})
	wantWholeLog(t, h, count)
	if out := h.MustDocker("exec", web, "sh", "-c", "echo inside"); out != "inside" {
		t.Errorf("exec after the daemon's return: %q", out)
	}
	h.MustDocker("stop", "-t", "1", count, again)
	if got := h.MustDocker("inspect", "-f", "{{.State.Status}}", again); got != "exited" {
		t.Errorf("stopped container with restart policy: %q, want exited", got)
	}
	h.MustDocker("rm", count, again)
}

func TestContainersServeWhileDriversDie(t *testing.T) {
	h := testkit.Start(t)
	web := h.MustDocker("run", "-d", "-p", "8080:80", "nginx")
	count := h.MustDocker("run", "-d", "busybox", "sh", "-c", counter)
	wantNginx(t, h, "http://127.0.0.1:8080/")
	for _, kind := range []string{"storage", "runtime", "network", "registry"} {
		t.Run(kind, func(t *testing.T) {
			kill(t, drivers(t, h)[kind])
			wantNginx(t, h, "http://127.0.0.1:8080/")
			afterDeath(t, h, web, count)
		})
	}
	t.Run("all four", func(t *testing.T) {
		for _, pid := range drivers(t, h) {
			kill(t, pid)
		}
		wantNginx(t, h, "http://127.0.0.1:8080/")
		afterDeath(t, h, web, count)
	})
	t.Run("all four and the daemon", func(t *testing.T) {
		for _, pid := range drivers(t, h) {
			kill(t, pid)
		}
		h.Kill()
		wantNginx(t, h, "http://127.0.0.1:8080/")
		h.Start()
		afterDeath(t, h, web, count)
	})
}

// afterDeath checks that all verbs work on containers older than the drivers,
// and that new containers can be made.
func afterDeath(t *testing.T, h *testkit.Host, web, count string) {
	t.Helper()
	if out := h.MustDocker("exec", web, "echo", "inside"); out != "inside" {
		t.Errorf("exec: %q", out)
	}
	if out := h.MustDocker("run", "--rm", "-p", "0:80", "busybox", "echo", "new"); out != "new" {
		t.Errorf("run: %q", out)
	}
	wantNginx(t, h, "http://127.0.0.1:8080/")
	wantWholeLog(t, h, count)
	if out := h.MustDocker("ps", "-q", "--no-trunc"); !strings.Contains(out, web) || !strings.Contains(out, count) {
		t.Errorf("ps lacks a container:\n%s", out)
	}
}

// drivers returns the pids of the drivers by kind, all of them ready.
func drivers(t *testing.T, h *testkit.Host) map[string]int {
	t.Helper()
	pids := map[string]int{}
	h.Eventually(10*time.Second, "four drivers are ready", func() bool {
		clear(pids)
		resp, err := h.API().Get("http://strake/strake/v1/drivers")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var list []struct {
			Kind, Status string
			Pid          int
		}
		if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
			return false
		}
		for _, d := range list {
			if d.Status == "ready" && testkit.Alive(d.Pid) {
				pids[d.Kind] = d.Pid
			}
		}
		return len(pids) == 4
	})
	return pids
}

// kill returns when the process is gone: a call that it still took might be done
// or not, and is not repeated.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill driver %d: %v", pid, err)
	}
	for until := time.Now().Add(10 * time.Second); testkit.Alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("driver %d is not gone", pid)
		}
	}
}

func wantState(t *testing.T, h *testkit.Host, id, status string, code int) {
	t.Helper()
	want := fmt.Sprintf("%s %d", status, code)
	if got := h.MustDocker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id); got != want {
		t.Errorf("container %.12s: %q, want %q", id, got, want)
	}
}

// wantWholeLog fails on a gap or a double in a counter's log, and when the log
// has stopped growing.
func wantWholeLog(t *testing.T, h *testkit.Host, id string) {
	t.Helper()
	before := strings.Split(h.MustDocker("logs", id), "\n")
	for i, line := range before {
		if want := fmt.Sprintf("line %d", i+1); line != want {
			t.Fatalf("log line %d is %q, want %q", i+1, line, want)
		}
	}
	h.Eventually(5*time.Second, "the log grows", func() bool {
		return len(strings.Split(h.MustDocker("logs", id), "\n")) > len(before)
	})
}

func hasProcess(h *testkit.Host, id string) bool {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, p := range procs {
		if b, err := os.ReadFile("/proc/" + p.Name() + "/cgroup"); err == nil && strings.Contains(string(b), id) {
			return true
		}
	}
	return false
}

package shortage

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// reads are questions that no driver is needed for.
func reads(id string) []string {
	return []string{
		"/_ping", "/version", "/info", "/containers/json?all=1", "/containers/" + id + "/json", "/images/json", "/images/busybox/json",
		"/networks", "/volumes", "/strake/v1/drivers", "/containers/" + id + "/logs?stdout=1",
	}
}

// answers makes all reads in turn until stop, and returns how long each took at
// most.
func answers(t *testing.T, h *testkit.Host, id string, stop <-chan struct{}) map[string]time.Duration {
	worst := map[string]time.Duration{}
	for {
		for _, path := range reads(id) {
			began := time.Now()
			status, body := api(t, h, http.MethodGet, path, "")
			if status != http.StatusOK {
				t.Errorf("%s: %d %s", path, status, body)
			}
			worst[path] = max(worst[path], time.Since(began))
		}
		select {
		case <-stop:
			return worst
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// affected are an operation for each kind of driver that needs no other. The
// runtime's, an exec, is the one that must not be repeated.
func affected(h *testkit.Host, id string) map[string]func() testkit.Result {
	return map[string]func() testkit.Result{
		"storage":  func() testkit.Result { return h.Docker("create", "busybox", "true") },
		"runtime":  func() testkit.Result { return h.Docker("exec", id, "true") },
		"network":  func() testkit.Result { return h.Docker("network", "create", fmt.Sprint("n", time.Now().UnixNano())) },
		"registry": func() testkit.Result { return h.Docker("push", "-q", mine(h)) },
	}
}

// mine is an image that a host's registry takes.
func mine(h *testkit.Host) string { return h.Registry + "/mine/busybox" }

// deadline is that of every call that an affected operation makes, and the time
// that the rest of it takes on a busy machine.
const deadline = 30*time.Second + 5*time.Second

// limit is short in the long form, which has the machine for itself.
func limit(short, busy time.Duration) time.Duration {
	if long() {
		return short
	}
	return busy
}

// hungDrivers asks `strake driver ls`, until stop, which drivers it says hang.
func hungDrivers(h *testkit.Host, stop <-chan struct{}) map[string]bool {
	said := map[string]bool{}
	for {
		for _, line := range strings.Split(h.Strake("driver", "ls", "--format", "{{.Kind}} {{.Status}}").Out(), "\n") {
			if kind, status, _ := strings.Cut(line, " "); status == "hung" {
				said[kind] = true
			}
		}
		select {
		case <-stop:
			return said
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func TestStoppedDriversCostOnlyTheirOwnOperations(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "--name", "lives", "busybox", "sh", "-c", "echo here; sleep 1000")
	h.MustDocker("tag", "busybox", mine(h))
	api(t, h, http.MethodGet, "/version", "") // learns runc's version once
	before := ready(t, h)
	for kind, d := range before {
		signal(t, d.Pid, syscall.SIGSTOP)
		costsOnlyItsOwn(t, h, id, kind)
		signal(t, d.Pid, syscall.SIGCONT)
	}
	before = ready(t, h)
	for _, d := range before {
		signal(t, d.Pid, syscall.SIGSTOP)
	}
	ended := make(chan struct{})
	var ops, watch sync.WaitGroup
	for kind, op := range affected(h, id) {
		ops.Go(func() {
			began := time.Now()
			r := op()
			took, said := time.Since(began), r.Stdout+r.Stderr
			t.Logf("%s: %v code %d %s", kind, took, r.Code, said)
			if took > deadline {
				t.Errorf("%s: ended after %v, want %v at most", kind, took, deadline)
			}
			if r.Code != 0 && !strings.Contains(said, kind+` driver "`) {
				t.Errorf("%s: the error does not name the driver: %s", kind, said)
			}
			if kind == "runtime" && r.Code == 0 {
				t.Error("an exec that may have been done was done once more")
			}
		})
	}
	watch.Go(func() {
		said := hungDrivers(h, ended)
		for kind := range before {
			if !said[kind] {
				t.Errorf("strake driver ls does not say of the %s driver that it is hung", kind)
			}
		}
	})
	watch.Go(func() { wantQuick(t, answers(t, h, id, ended)) })
	ops.Wait()
	close(ended)
	watch.Wait()
	after := ready(t, h)
	for kind, d := range after {
		if d.Pid == before[kind].Pid || d.Restarts != before[kind].Restarts+1 {
			t.Errorf("%s driver was not relaunched: %+v", kind, d)
		}
	}
	wantWorks(t, h)
}

// costsOnlyItsOwn fails unless all that needs other drivers works beside one
// that is stopped.
func costsOnlyItsOwn(t *testing.T, h *testkit.Host, id, stopped string) {
	t.Helper()
	for kind, op := range affected(h, id) {
		if kind == stopped {
			continue
		}
		began := time.Now()
		r := op()
		took := time.Since(began)
		t.Logf("beside a stopped %s driver: %s: %v", stopped, kind, took)
		if most := limit(2*time.Second, 5*time.Second); r.Code != 0 || took > most {
			t.Errorf("beside a stopped %s driver: %s: code %d %s%s after %v, want %v at most", stopped, kind, r.Code, r.Stdout, r.Stderr, took, most)
		}
	}
	once := make(chan struct{})
	close(once)
	wantQuick(t, answers(t, h, id, once))
}

// wantQuick fails if a question took long.
func wantQuick(t *testing.T, worst map[string]time.Duration) {
	t.Helper()
	for path, d := range worst {
		t.Logf("%-40s %v", path, d)
		if most := limit(100*time.Millisecond, time.Second); d > most {
			t.Errorf("%s took %v beside drivers that hang, want %v", path, d, most)
		}
	}
}

package shortage

import (
	"net/http"
	"strings"
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

// affected are an operation for each kind of driver.
func affected(h *testkit.Host, id string) map[string]func() testkit.Result {
	return map[string]func() testkit.Result{
		"storage":  func() testkit.Result { return h.Docker("create", "busybox", "true") },
		"runtime":  func() testkit.Result { return h.Docker("exec", id, "true") },
		"network":  func() testkit.Result { return h.Docker("network", "create", "other") },
		"registry": func() testkit.Result { return h.Docker("pull", "-q", "nginx") },
	}
}

func TestStoppedDriversCostOnlyTheirOwnOperations(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "--name", "lives", "busybox", "sh", "-c", "echo here; sleep 1000")
	api(t, h, http.MethodGet, "/version", "") // learns runc's version once
	before := ready(t, h)
	for _, d := range before {
		signal(t, d.Pid, syscall.SIGSTOP)
	}
	ended := make(chan struct{})
	type outcome struct {
		kind string
		r    testkit.Result
		took time.Duration
	}
	outcomes := make(chan outcome, len(before))
	for kind, op := range affected(h, id) {
		go func() {
			began := time.Now()
			outcomes <- outcome{kind, op(), time.Since(began)}
		}()
	}
	go func() {
		defer close(ended)
		for range before {
			o := <-outcomes
			said := o.r.Stdout + o.r.Stderr
			t.Logf("%s: %v code %d %s", o.kind, o.took, o.r.Code, said)
			if o.r.Code != 0 && !strings.Contains(said, o.kind+` driver "`) {
				t.Errorf("%s: the error does not name the driver: %s", o.kind, said)
			}
		}
	}()
	worst := answers(t, h, id, ended)
	for path, d := range worst {
		t.Logf("%-40s %v", path, d)
		if d > 100*time.Millisecond && long() {
			t.Errorf("%s took %v beside drivers that hang, want 100 ms", path, d)
		}
	}
	after := ready(t, h)
	for kind, d := range after {
		if d.Pid == before[kind].Pid || d.Restarts != 1 {
			t.Errorf("%s driver was not relaunched: %+v", kind, d)
		}
	}
	wantWorks(t, h)
}

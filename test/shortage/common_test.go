package shortage

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// driverState is a line of `strake driver ls`.
type driverState struct {
	Kind, Name, Status, Reason string
	Pid, Restarts              int
}

// drivers asks the daemon for its drivers, by kind.
func drivers(t *testing.T, h *testkit.Host) map[string]driverState {
	t.Helper()
	var list []driverState
	status, body := api(t, h, http.MethodGet, "/strake/v1/drivers", "")
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
		t.Fatalf("drivers: %d %s: %v", status, body, err)
	}
	out := map[string]driverState{}
	for _, d := range list {
		out[d.Kind] = d
	}
	return out
}

// ready waits until all drivers are.
func ready(t *testing.T, h *testkit.Host) map[string]driverState {
	t.Helper()
	var all map[string]driverState
	h.Eventually(40*time.Second, "all drivers are ready", func() bool {
		all = drivers(t, h)
		for _, d := range all {
			if d.Status != "ready" {
				return false
			}
		}
		return true
	})
	return all
}

// api makes one request of the daemon.
func api(t *testing.T, h *testkit.Host, method, path, body string) (status int, answer string) {
	t.Helper()
	return apiBy(t, h.API(), method, path, body)
}

func apiBy(t *testing.T, c *http.Client, method, path, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://strake"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(b)
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("signal %s to %d: %v", s, pid, err)
	}
}

// long says whether the long form was asked for: make shortage.
func long() bool { return os.Getenv("STRAKE_LONG") != "" }

// wantWorks fails unless all that a daemon is for works: pull, run, publish,
// exec, logs, remove.
func wantWorks(t *testing.T, h *testkit.Host) {
	t.Helper()
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "-p", "0:80", "busybox", "sh", "-c", "echo began; sleep 1000")
	if out := h.MustDocker("exec", id, "echo", "inside"); out != "inside" {
		t.Errorf("exec: %q", out)
	}
	h.Eventually(5*time.Second, "the log has the line", func() bool { return h.MustDocker("logs", id) == "began" })
	h.MustDocker("rm", "-f", id)
}

package integration

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// get fetches a URL from within the host's namespace.
func get(t *testing.T, h *testkit.Host, url string) (int, string) {
	t.Helper()
	resp, err := h.HTTP().Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func wantNginx(t *testing.T, h *testkit.Host, url string) {
	t.Helper()
	// nginx needs a moment between its start and its first answer.
	h.Eventually(5*time.Second, url+" answers with nginx's page", func() bool {
		code, body := get(t, h, url)
		return code == http.StatusOK && strings.Contains(body, "Welcome to nginx!")
	})
}

func TestRunPullsStartsAndPublishesNginx(t *testing.T) {
	h := testkit.Start(t)
	r := h.Strake("run", "-d", "-p", "8080:80", "nginx")
	if r.Code != 0 {
		t.Fatalf("run: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}\n$`).MatchString(r.Stdout) {
		t.Errorf("standard output is not just the container's id: %q", r.Stdout)
	}
	for _, want := range []string{"Unable to find image 'nginx:latest' locally", "Pull complete", "Status: Downloaded newer image for nginx:latest"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("progress lacks %q:\n%s", want, r.Stderr)
		}
	}
	for _, url := range []string{"http://127.0.0.1:8080/", "http://198.51.100.1:8080/"} {
		wantNginx(t, h, url)
	}

	ps := h.MustStrake("ps", "--format", "{{.Image}} {{.State}} {{.Ports}}")
	if !regexp.MustCompile(`^nginx running 0\.0\.0\.0:8080->80/tcp`).MatchString(ps) {
		t.Errorf("ps: %q", ps)
	}
	drivers := h.MustStrake("driver", "ls")
	for _, want := range []string{"storage", "overlay", "runtime", "runc", "network", "bridge", "registry", "http", "ready"} {
		if !strings.Contains(drivers, want) {
			t.Errorf("driver ls lacks %q:\n%s", want, drivers)
		}
	}
}

func TestTraceShowsTheStepsOfARequestAndTheirProcesses(t *testing.T) {
	h := testkit.Start(t)
	r := h.Strake("run", "--trace", "-d", "-p", "8080:80", "nginx")
	if r.Code != 0 {
		t.Fatalf("run --trace: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	for _, want := range []string{"straked", "strake-registry-http", "strake-storage-overlay", "strake-net-bridge", "strake-runtime-runc", "ms"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("trace lacks %q:\n%s", want, r.Stderr)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	h := testkit.Start(t)
	h.MustStrake("run", "-d", "--name", "web", "-p", "8080:80", "nginx")
	wantNginx(t, h, "http://127.0.0.1:8080/")
	h.MustStrake("run", "--rm", "busybox", "true")
	h.MustStrake("run", "--rm", "-v", "/data", "--tmpfs", "/scratch", "busybox", "sh", "-c", "echo x > /data/x")
	h.MustStrake("rm", "-f", "web")
	h.Teardown()
	if leaks := h.Leaks(); len(leaks) != 0 {
		t.Errorf("left behind:\n%s", strings.Join(leaks, "\n"))
	}
	if rules := h.FirewallRules(); rules != "" {
		t.Errorf("firewall rules left behind:\n%s", rules)
	}
}

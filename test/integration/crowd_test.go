package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

// TestAmongManyAShimSeesItsOwnNamespaceOnly: the OCI runtime copies all mounts
// that it finds, so beside many containers a shim leaves theirs behind.
func TestAmongManyAShimSeesItsOwnNamespaceOnly(t *testing.T) {
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	h.MustDocker("pull", "-q", "nginx")
	const crowd = 34 // more than a few, see cmd/strake-shim/internal/mountns
	for i := range crowd {
		h.MustDocker("create", "--name", fmt.Sprint("beside", i), "busybox", "sleep", "1000000")
		h.MustDocker("start", fmt.Sprint("beside", i))
	}
	web := h.MustDocker("run", "-d", "--name", "web", "-p", "8080:80", "nginx")
	wantNginx(t, h, "http://127.0.0.1:8080/")
	if pins := pinsOf(t, web); len(pins) != 1 || !strings.Contains(pins[0], web) {
		t.Errorf("the shim sees the namespaces %q, want that of %s", pins, web)
	}
	h.MustDocker("restart", "-t", "2", "web")
	wantNginx(t, h, "http://127.0.0.1:8080/")
	if out := h.MustDocker("run", "--rm", "--network", "container:web", "busybox", "wget", "-qO-", "http://127.0.0.1/"); !strings.Contains(out, "Welcome to nginx") {
		t.Errorf("beside it in its namespace: %q", out)
	}
	h.MustDocker("rm", "-f", "web")
	if out := h.MustDocker("run", "--rm", "busybox", "cat", "/sys/class/net/eth0/operstate"); out != "up" {
		t.Errorf("the next one's link is %s", out)
	}
}

// pinsOf lists the network namespaces that are mounted where a container's shim is.
func pinsOf(t *testing.T, container string) (pins []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		args, err := os.ReadFile(p)
		if err != nil || !strings.Contains(string(args), "strake-shim") || !strings.Contains(string(args), container) {
			continue
		}
		mounts, err := os.ReadFile(filepath.Join(filepath.Dir(p), "mountinfo"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(mounts)) {
			if strings.Contains(line, " nsfs ") {
				pins = append(pins, strings.Fields(line)[4])
			}
		}
	}
	return pins
}

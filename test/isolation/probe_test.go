package isolation

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

// report is what the probe printed.
type report map[string]string

// probe builds the probe once for all tests.
var probe = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(testkit.Root(), ".build", "isolation")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "probe")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./test/isolation/probe")
	cmd.Dir, cmd.Env = testkit.Root(), append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})

// probePath is the probe on the host, where everybody may run it.
func probePath(t *testing.T, h *testkit.Host) string {
	t.Helper()
	built, err := probe()
	if err != nil {
		t.Fatalf("build the probe: %v", err)
	}
	// The host's directory is root's alone; a file bound into a container is
	// reached without it.
	data, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.Dir, "probe")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// variants are the ways of running a container that are probed.
func variants() map[string][]string {
	return map[string][]string{
		"default":           nil,
		"privileged":        {"--privileged"},
		"read-only":         {"--read-only"},
		"user":              {"--user", "1000:1000"},
		"cap-drop-all":      {"--cap-drop", "all"},
		"no-new-privileges": {"--security-opt", "no-new-privileges"},
	}
}

// look runs the probe in a container.
func look(t *testing.T, docker func(...string) testkit.Result, path, image string, flags ...string) report {
	t.Helper()
	args := append(append([]string{"run", "--rm", "-v", path + ":/probe:ro"}, flags...), image, "/probe")
	r := docker(args...)
	if r.Code != 0 {
		t.Fatalf("docker %s: exit code %d: %s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	rep := report{}
	if err := json.Unmarshal([]byte(r.Stdout), &rep); err != nil {
		t.Fatalf("report: %v: %.200s", err, r.Stdout)
	}
	return rep
}

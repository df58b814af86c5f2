package shortage

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// hostile builds the hostile driver under a name.
func hostile(t *testing.T, h *testkit.Host, name string) string {
	t.Helper()
	path := filepath.Join(h.Dir, name)
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/hostile").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// tricks are the hostile registry driver's, and what the daemon says of them.
func tricks() map[string]string {
	return map[string]string{
		"other-digest": "digest", "other-size": "", "no-json": "", "huge-manifest": "", "bad-digest": "digest",
		"negative-size": "", "panics": "", "exits": "died twice during GetManifest", "strange-error": "",
		"other-config": "digest", "endless": "longer than the 5 bytes", "short": "", "wrong-bytes": "digest",
		"dies-in-blob": "",
	}
}

func TestARegistryDriverThatLiesFloodsAndDies(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "busybox", "sleep", "1000")
	h.Stop()
	h.WriteConfig("[registry]\npath = \"" + hostile(t, h, "strake-registry-hostile") + "\"\n[registry.options]\n")
	h.Start()
	for trick, says := range tricks() {
		r := h.Docker("pull", "-q", "evil.example/"+trick)
		if r.Code == 0 || !strings.Contains(r.Stderr, says) || len(r.Stderr) > 2<<20 {
			t.Errorf("%s: code %d, want %q in: %.300s", trick, r.Code, says, r.Stderr)
		}
		h.Eventually(20*time.Second, "the driver is ready again", func() bool { return drivers(t, h)["registry"].Status == "ready" })
	}
	// Beside floods and streams that stop, all else goes on.
	slow := make(chan struct{})
	for _, trick := range []string{"floods-log", "stops", "leaks"} {
		go func() {
			cmd := h.Command(testkit.DockerCLI(), "pull", "-q", "evil.example/"+trick)
			if err := h.Namespace().Start(cmd); err != nil {
				t.Error(err)
			}
			<-slow
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			cmd.Wait() // always "signal: killed", or refused
			slow <- struct{}{}
		}()
	}
	log := h.Dir + "/run/drivers/registry-http.log"
	if logs, err := filepath.Glob(h.Dir + "/run/drivers/registry-*.log"); err == nil && len(logs) == 1 {
		log = logs[0]
	}
	emptied := func() bool { return strings.Contains(h.Log(), "driver's log is emptied") }
	h.Eventually(20*time.Second, "the flood is noticed", emptied)
	for _, path := range reads(id) {
		if path == "/images/busybox/json" {
			continue
		}
		if status, body := api(t, h, http.MethodGet, path, ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	h.MustDocker("run", "--rm", "busybox", "true")
	for range 3 {
		slow <- struct{}{}
	}
	for range 3 {
		<-slow
	}
	if fi, err := os.Stat(log); err != nil || fi.Size() > 2<<30 {
		t.Errorf("driver's log: %v %v", fi, err)
	}
	if list := h.MustDocker("images", "-q"); strings.Contains(list, "\n") {
		t.Errorf("an image of the hostile driver is listed: %s", list)
	}
	h.MustDocker("exec", id, "true")
}

func TestARuntimeDriverThatTellsOfOthersContainers(t *testing.T) {
	t.Parallel()
	h := testkit.New(t)
	h.WriteConfig("[runtimes.hostile]\npath = \"" + hostile(t, h, "strake-runtime-hostile") + "\"\n")
	h.Start()
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "--name", "victim", "busybox", "sleep", "1000")
	refused(t, "a container of the hostile driver", h.Docker("run", "-d", "--runtime", "hostile", "busybox", "true"), "not made")
	dir := h.Dir + "/state/drivers/runtime-hostile"
	if err := os.WriteFile(dir+"/ids.new", []byte(id+" victim "+id[:12]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/ids.new", dir+"/ids"); err != nil {
		t.Fatal(err)
	}
	h.Eventually(10*time.Second, "it has told", func() bool { _, err := os.Stat(dir + "/told"); return err == nil })
	wantStatus(t, h, id, "running 0")
	h.MustDocker("exec", id, "true")
	if err := os.Remove(dir + "/ids"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, h, id, "running 0")
	wantWorks(t, h)
}

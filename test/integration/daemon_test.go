package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

func TestValidateChecksFileDriversAndOptionsAndStartsNothing(t *testing.T) {
	h := testkit.New(t)
	validate := func() testkit.Result {
		return h.Run(h.Command(testkit.Bin("straked"), "--validate", "--config", filepath.Join(h.Dir, "config.toml")))
	}
	if r := validate(); r.Code != 0 || !strings.Contains(r.Stdout, "configuration is valid") || strings.Count(r.Stdout, " driver ") != 4 {
		t.Errorf("a good file: %+v", r)
	}
	for _, tc := range []struct{ config, says string }{
		{"[storage]\ndrivr = \"copy\"\n", `storage.drivr: unknown key. Did you mean "driver"?`},
		{"[storage]\ndriver = \"kopy\"\n", "storage drivers found there: copy, overlay"},
		{"[runtime]\npath = \"" + testkit.Bin("strake-storage-overlay") + "\"\n", "not a runtime driver"},
		{"[network.options]\nfirewall = \"ipfw\"\n", "nftables"},
		{"[runtimes.other]\ndriver = \"runc\"\noptions = { binry = \"crun\" }\n", "binry"},
	} {
		h.WriteConfig(tc.config)
		if r := validate(); r.Code != 1 || !strings.Contains(r.Stderr, tc.says) {
			t.Errorf("%s: got code %d\n%s\nwant %q", tc.config, r.Code, r.Stderr, tc.says)
		}
	}
	for _, dir := range []string{"state", "run"} {
		if _, err := os.Stat(filepath.Join(h.Dir, dir)); !os.IsNotExist(err) {
			t.Errorf("%s: %v, want that it does not exist", dir, err)
		}
	}
}

func TestASecondDaemonIsRefused(t *testing.T) {
	h := testkit.Start(t)
	r := h.Run(h.Command(testkit.Bin("straked"), "--config", filepath.Join(h.Dir, "config.toml")))
	if r.Code != 1 || !strings.Contains(r.Stderr, "in use by another straked") {
		t.Errorf("got %+v", r)
	}
	h.MustDocker("version") // the first one does not mind
}

func TestADriverThatCannotWorkLeavesTheDaemonUp(t *testing.T) {
	h := testkit.Start(t, testkit.WithConfig("[runtime.options]\nbinary = \"/nonexistent/runc\"\n"))
	h.MustDocker("pull", "-q", "busybox")
	r := h.Docker("run", "--rm", "busybox", "true")
	if r.Code != 125 && r.Code != 127 || !strings.Contains(r.Stderr, "/nonexistent/runc") {
		t.Errorf("run: %+v", r)
	}
	// The mend counts without a restart of the daemon.
	h.WriteConfig("")
	if err := syscall.Kill(h.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.Eventually(10*time.Second, "containers run", func() bool {
		return h.Docker("run", "--rm", "busybox", "true").Code == 0
	})
}

func TestProfilesAreForDebuggingOnly(t *testing.T) {
	h := testkit.Start(t, testkit.WithConfig("log_level = \"info\"\n"))
	profile := func(want int) {
		t.Helper()
		resp, err := h.API().Get("http://strake/v1.41/debug/pprof/heap?debug=1")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a profile: %s, want %d", resp.Status, want)
		}
	}
	profile(http.StatusNotFound)
	h.Stop()
	h.WriteConfig("log_level = \"debug\"\n")
	h.Start()
	profile(http.StatusOK)
}

func TestADriverIsReplacedByRequestWhileContainersRun(t *testing.T) {
	h := testkit.Start(t)
	web := h.MustDocker("run", "-d", "-p", "8080:80", "nginx")
	wantNginx(t, h, "http://127.0.0.1:8080/")
	before := drivers(t, h)
	for _, name := range []string{"overlay", "runc", "network.bridge", "http"} {
		resp, err := h.API().Post("http://strake/strake/v1/drivers/"+name+"/restart", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		var d struct{ Pid, Restarts int }
		if err := json.NewDecoder(resp.Body).Decode(&d); err != nil || resp.StatusCode != http.StatusOK || d.Restarts != 1 {
			t.Errorf("restart %s: %s %+v %v", name, resp.Status, d, err)
		}
		resp.Body.Close()
	}
	after := drivers(t, h)
	for kind, pid := range before {
		if after[kind] == pid {
			t.Errorf("%s driver has the pid that it had", kind)
		}
	}
	wantNginx(t, h, "http://127.0.0.1:8080/")
	if out := h.MustDocker("exec", web, "echo", "inside"); out != "inside" {
		t.Errorf("exec: %q", out)
	}
}

func TestContainersStopWithTheDaemonWhenTheConfigSaysSo(t *testing.T) {
	h := testkit.Start(t, testkit.WithConfig("stop_containers_on_exit = true\n"))
	id := h.MustDocker("run", "-d", "busybox", "sh", "-c", "trap 'exit 5' TERM; echo armed; while true; do sleep 0.1; done")
	h.Eventually(10*time.Second, "the trap is set", func() bool { return h.MustDocker("logs", id) == "armed" })
	h.Stop()
	if hasProcess(h, id) {
		t.Error("the container runs on")
	}
	h.Start()
	wantState(t, h, id, "exited", 5)
}

package shortage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// impostors is a daemon whose storage, runtime and network drivers are real ones
// behind an impostor.
func impostors(t *testing.T) *testkit.Host {
	t.Helper()
	h := testkit.New(t)
	built := filepath.Join(h.Dir, "impostor")
	if out, err := exec.Command("go", "build", "-o", built, "./testdata/impostor").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	toml := ""
	for table, names := range map[string][2]string{
		"storage": {"strake-storage-impostor", "strake-storage-overlay"}, "runtime": {"strake-runtime-impostor", "strake-runtime-runc"},
		"network": {"strake-net-impostor", "strake-net-bridge"},
	} {
		path := filepath.Join(h.Dir, names[0])
		if err := os.Link(built, path); err != nil {
			t.Fatal(err)
		}
		toml += fmt.Sprintf("[%s]\npath = %q\n[%s.options]\nreal = %q\n", table, path, table, testkit.Bin(names[1]))
	}
	h.WriteConfig(toml)
	h.Start()
	return h
}

// tell has a driver lie from now on; an empty lie: it is honest.
func tell(t *testing.T, h *testkit.Host, kind, lie string) {
	t.Helper()
	file := h.Dir + "/state/drivers/" + kind + "-impostor/lie"
	if err := os.WriteFile(file, []byte(lie), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A driver does its work and answers with what is another container's. The daemon
// says which driver that is and refuses; whoever was meant is not harmed by the
// refusal, by the removal of what was refused, nor after the next start.
func TestDriversThatAnswerWithWhatIsAnothers(t *testing.T) {
	t.Parallel()
	h := impostors(t)
	h.MustDocker("pull", "-q", "busybox")
	victim := h.MustDocker("run", "-d", "-p", "18080:80", "--name", "victim", "busybox", "sh", "-c", "echo mine > /mine; cd /; httpd -f -p 80 -h /")
	serves := func() bool {
		resp, err := h.HTTP().Get("http://127.0.0.1:18080/mine")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == 200
	}
	h.Eventually(10*time.Second, "the victim serves", serves)
	unharmed := func(after string) {
		t.Helper()
		if !serves() || h.MustDocker("exec", victim, "cat", "/mine") != "mine" || h.MustDocker("inspect", "-f", "{{.State.Status}}", victim) != "running" {
			t.Errorf("after %s the victim is harmed", after)
		}
		if list := h.MustDocker("ps", "-q", "--no-trunc"); list != victim {
			t.Errorf("after %s these run: %s", after, list)
		}
	}
	again := h.MustDocker("run", "-d", "--name", "again", "busybox", "true")
	wantStatus(t, h, again, "exited 0")
	for _, c := range []struct{ kind, lie, says string }{
		{"network", "attached another", `network driver "impostor": Attach: wrong answer: asked about endpoint`},
		{"network", "another container", `network driver "impostor": Attach: wrong answer: asked about container`},
		{"network", "handle of another", `network driver "impostor": Attach: wrong answer: the handle is that of container victim`},
		{"runtime", "created another", `runtime driver "impostor": Create: wrong answer: asked about container`},
		{"runtime", "started another", `runtime driver "impostor": Start: wrong answer: asked about container`},
		{"runtime", "handle of another", `runtime driver "impostor": Create: wrong answer: the handle is that of container ` + victim[:12]},
		{"storage", "prepare of another", `storage driver "impostor": wrong answer: a mount of `},
		{"storage", "prepare within another's", `storage driver "impostor": wrong answer: a mount of `},
		{"storage", "prepare around all", `storage driver "impostor": wrong answer: a mount of `},
		{"storage", "prepare of the host", `storage driver "impostor": Prepare: wrong answer: a mount of /, which`},
		{"storage", "prepare over the host", `storage driver "impostor": Prepare: wrong answer: a mount of `},
		{"storage", "mounts of another", `storage driver "impostor": wrong answer: a mount of `},
		{"storage", "mounts of the host", `storage driver "impostor": Mounts: wrong answer: a mount of /, which`},
	} {
		tell(t, h, c.kind, c.lie)
		if strings.HasPrefix(c.lie, "mounts") {
			refused(t, c.lie, h.Docker("start", again), c.says)
		} else {
			refused(t, c.lie, h.Docker("run", "-d", "--name", "liars", "busybox", "sleep", "1000"), c.says)
			if r := h.Docker("rm", "-f", "liars"); r.Code != 0 && !strings.Contains(r.Stderr, "No such container") {
				t.Errorf("%s: remove what was refused: %s", c.lie, r.Stderr)
			}
		}
		tell(t, h, c.kind, "")
		unharmed(c.lie)
	}
	tell(t, h, "runtime", "exec in another")
	refused(t, "an exec's answer", h.Docker("exec", "victim", "sleep", "1"), `runtime driver "impostor": Exec: wrong answer: asked about exec`)
	tell(t, h, "runtime", "")
	tell(t, h, "network", "made another")
	refused(t, "another network", h.Docker("network", "create", "-d", "impostor", "other"), `network driver "impostor": EnsureNetwork: wrong answer: asked about network`)
	tell(t, h, "network", "")
	for kind, d := range drivers(t, h) {
		if d.Status != "ready" {
			t.Errorf("the %s driver is %s: %s", kind, d.Status, d.Reason)
		}
	}
	h.MustDocker("rm", "-f", "again")
	h.Kill()
	h.Start()
	unharmed("the next start")
	wantWorks(t, h)
}

// leftovers are what the drivers have of a container that ran: its snapshot, its
// process's directory and its network's bridge.
func leftovers(t *testing.T, h *testkit.Host, id, network string) []string {
	t.Helper()
	var all []string
	records, err := filepath.Glob(h.Dir + "/state/drivers/storage-impostor/snapshots/*/record")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if text, err := os.Readlink(r); err == nil && strings.Contains(text, id) {
			all = append(all, "snapshot")
		}
	}
	if _, err := os.Stat(h.Dir + "/run/drivers/runtime-impostor/c/" + id); err == nil {
		all = append(all, "process")
	}
	if r := h.Run(h.Command("ip", "-d", "link")); strings.Contains(r.Stdout, network) {
		all = append(all, "bridge")
	}
	return all
}

// A driver may keep what it was told to remove and say that it is gone. The daemon
// believes it: records go, names are free, and whatever was kept goes when a driver
// that does its work is told what the daemon still knows, at the next start.
func TestDriversThatKeepWhatTheyAreToRemove(t *testing.T) {
	t.Parallel()
	h := impostors(t)
	h.MustDocker("pull", "-q", "busybox")
	victim := h.MustDocker("run", "-d", "--name", "victim", "busybox", "sleep", "1000")
	bridge := h.MustDocker("network", "inspect", "-f", "{{.Id}}", "bridge")
	mine := h.MustDocker("network", "create", "-d", "impostor", "mine")
	kept := h.MustDocker("run", "-d", "--name", "kept", "--network", "mine", "-p", "18080:80", "busybox", "sleep", "1000")
	for _, kind := range []string{"storage", "runtime", "network"} {
		tell(t, h, kind, "keeps")
	}
	h.MustDocker("rm", "-f", "kept")
	h.MustDocker("network", "rm", "mine")
	if got := fmt.Sprint(leftovers(t, h, kept, mine)); got != "[snapshot process bridge]" {
		t.Fatalf("the drivers kept %s", got)
	}
	gone := func() {
		t.Helper()
		if list := h.MustDocker("ps", "-aq", "--no-trunc"); strings.Contains(list, kept) {
			t.Errorf("containers: %s", list)
		}
		if list := h.MustDocker("network", "ls", "--format", "{{.Name}}"); strings.Contains(list, "mine") {
			t.Errorf("networks: %s", list)
		}
		refused(t, "inspect what was removed", h.Docker("inspect", kept), "No such object")
		refused(t, "exec in what was removed", h.Docker("exec", kept, "true"), "No such container")
		for kind, d := range drivers(t, h) {
			if d.Status != "ready" {
				t.Errorf("the %s driver is %s: %s", kind, d.Status, d.Reason)
			}
		}
		h.MustDocker("exec", victim, "true")
	}
	gone()
	h.MustDocker("run", "-d", "--name", "kept", "busybox", "sleep", "1000")
	refused(t, "a port that the driver keeps", h.Docker("run", "--rm", "-p", "18080:80", "busybox", "true"), "port is already allocated")
	h.Kill()
	h.Start()
	gone() // and the drivers lie on
	for _, kind := range []string{"storage", "runtime", "network"} {
		tell(t, h, kind, "")
	}
	h.Kill()
	h.Start()
	h.Eventually(10*time.Second, "what was kept goes", func() bool { return len(leftovers(t, h, kept, mine)) == 0 })
	gone()
	if got := fmt.Sprint(leftovers(t, h, victim, bridge)); got != "[snapshot process bridge]" {
		t.Errorf("of the victim there is %s", got)
	}
	h.MustDocker("rm", "-f", "kept")
	h.MustDocker("run", "--rm", "-p", "18080:80", "busybox", "true")
	wantWorks(t, h)
}

package shortage

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

func TestNoPortsLeft(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t, testkit.WithConfig("[network.options]\nephemeral_ports = \"40000-40002\"\n"))
	h.MustDocker("pull", "-q", "busybox")
	for i := range 3 {
		h.MustDocker("run", "-d", "--name", fmt.Sprint("p", i), "-p", "80", "busybox", "sleep", "1000")
	}
	r := h.Docker("run", "-d", "--name", "p3", "-p", "80", "busybox", "sleep", "1000")
	refused(t, "a fourth port", r, "all ports from 40000 to 40002 are taken")
	h.MustDocker("rm", "-f", "p1")
	h.MustDocker("start", "p3")
	if port := h.MustDocker("port", "p3", "80"); !strings.Contains(port, ":40001") {
		t.Errorf("port: %q", port)
	}
}

func TestNoAddressesLeft(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t, testkit.WithConfig("[network.options]\npools = [{ base = \"10.77.0.0/23\", size = 24 }]\n"))
	h.MustDocker("pull", "-q", "busybox")
	h.MustDocker("network", "create", "second")
	refused(t, "a third network", h.Docker("network", "create", "third"), "all predefined address pools have been fully subnetted")
	h.MustDocker("network", "rm", "second")
	h.MustDocker("network", "create", "third")
	h.MustDocker("network", "create", "--subnet", "10.78.0.0/29", "small") // gateway and five more
	for i := range 5 {
		h.MustDocker("run", "-d", "--name", fmt.Sprint("a", i), "--network", "small", "busybox", "sleep", "1000")
	}
	refused(t, "a sixth address", h.Docker("run", "-d", "--name", "a5", "--network", "small", "busybox", "sleep", "1000"), "no available IPv4 addresses in 10.78.0.0/29")
	h.MustDocker("rm", "-f", "a2")
	h.MustDocker("start", "a5")
}

// served waits until nginx answers on a published port and returns how long
// that took.
func served(t *testing.T, h *testkit.Host, url string) time.Duration {
	t.Helper()
	began := time.Now()
	client := h.HTTP()
	client.Timeout = 300 * time.Millisecond
	h.Eventually(20*time.Second, url+" answers", func() bool {
		resp, err := client.Get(url)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	return time.Since(began)
}

func TestRulesAndLinksThatSomebodyRemovesComeBack(t *testing.T) {
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := testkit.Start(t, testkit.WithConfig("[network.options]\nfirewall = \""+backend+"\"\n"))
			h.MustDocker("run", "-d", "--name", "web", "-p", "8080:80", "nginx")
			const url = "http://127.0.0.1:8080/"
			served(t, h, url)
			pid := h.MustDocker("inspect", "-f", "{{.State.Pid}}", "web")
			faults := map[string][]string{
				"the firewall is flushed":  {"nft", "flush", "ruleset"},
				"the firewall is reloaded": {"sh", "-c", "nft list ruleset > rules; nft flush ruleset; sleep 1; nft -f /dev/null"},
				"the bridge is deleted":    {"sh", "-c", "ip link del $(ip -o link show type bridge | cut -d: -f2)"},
				"the bridge is down":       {"sh", "-c", "ip link set $(ip -o link show type bridge | cut -d: -f2) down"},
				"the link leaves its bridge": {
					"sh", "-c",
					"ip link set $(ip -o link show type veth master $(ip -o link show type bridge | cut -d: -f2) | cut -d: -f2 | cut -d@ -f1) nomaster",
				},
			}
			for what, cmd := range faults {
				c := h.Command(cmd[0], cmd[1:]...)
				c.Dir = h.Dir
				if r := h.Run(c); r.Code != 0 {
					t.Errorf("%s: %+v", what, r)
				}
				took := served(t, h, url)
				t.Logf("%s: served again after %v", what, took)
				if took > 2*time.Second && long() {
					t.Errorf("%s: %v, want 2s at most", what, took)
				}
			}
			if now := h.MustDocker("inspect", "-f", "{{.State.Pid}} {{.RestartCount}}", "web"); now != pid+" 0" {
				t.Errorf("the container was restarted: %s, was %s", now, pid)
			}
			wantWorks(t, h)
		})
	}
}

func TestACgroupThatSomebodyRemoves(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "--memory", "64m", "busybox", "sh", "-c", "trap 'exit 9' TERM; while true; do sleep 0.1; done")
	pid := h.MustDocker("inspect", "-f", "{{.State.Pid}}", id)
	procs, err := filepath.Glob("/sys/fs/cgroup/*/strake-test-*/" + id)
	if err != nil || len(procs) == 0 {
		t.Fatalf("cgroups: %v %v", procs, err)
	}
	for _, dir := range procs {
		root := filepath.Dir(filepath.Dir(dir))
		h.Eventually(10*time.Second, dir+" is removed", func() bool {
			for _, p := range strings.Fields(read(t, dir+"/cgroup.procs")) {
				if err := os.WriteFile(root+"/cgroup.procs", []byte(p), 0o644); err != nil {
					return false
				}
			}
			return os.Remove(dir) == nil
		})
	}
	if r := h.Docker("exec", id, "echo", "inside"); r.Code != 0 && !strings.Contains(r.Stdout, "cgroup") {
		t.Errorf("exec: %+v", r)
	}
	h.MustDocker("stats", "--no-stream", id)
	// The machine's other processes are nobody's business here.
	if top := h.MustDocker("top", id, "-o", "pid"); strings.Fields(top)[1] != pid || len(strings.Fields(top)) != 2 {
		t.Errorf("top: %s, want process %s alone", top, pid)
	}
	h.MustDocker("stop", "-t", "5", id)
	wantStatus(t, h, id, "exited 9")
	if n, err := strconv.Atoi(pid); err != nil || syscall.Kill(n, 0) == nil {
		t.Errorf("process %s is still there", pid)
	}
	h.MustDocker("start", id)
	wantStatus(t, h, id, "running 0")
	h.MustDocker("rm", "-f", id)
	wantWorks(t, h)
}

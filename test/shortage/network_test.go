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
// that took from a moment on.
func served(t *testing.T, h *testkit.Host, url string, began time.Time) time.Duration {
	t.Helper()
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

// administrators have a file with rules of their own, which a reload puts in the
// place of all others, and may have saved such a file while Strake was at work.
// Each says how to save all rules and how to load one of the files: saved, and
// own, whose rules list shows.
type administrator struct{ save, reload, own, list string }

func administrators() map[string]administrator {
	return map[string]administrator{
		"nftables": {
			save:   "(echo flush ruleset; nft list ruleset) > saved",
			reload: "nft -f ",
			own:    "flush ruleset\ntable inet admin {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\ttcp dport 4242 drop\n\t}\n}\n",
			list:   "nft list ruleset",
		},
		"iptables": {
			save:   "iptables-save > saved",
			reload: "iptables-restore ",
			own:    "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 4242 -j DROP\nCOMMIT\n*nat\nCOMMIT\n*raw\nCOMMIT\n",
			list:   "iptables-save",
		},
	}
}

func TestRulesAndLinksThatSomebodyRemovesComeBack(t *testing.T) {
	for backend, admin := range administrators() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := testkit.Start(t, testkit.WithConfig("[network.options]\nfirewall = \""+backend+"\"\n"))
			shell := func(script string) testkit.Result {
				c := h.Command("sh", "-ec", script)
				c.Dir = h.Dir
				return h.Run(c)
			}
			if err := os.WriteFile(filepath.Join(h.Dir, "own"), []byte(admin.own), 0o600); err != nil {
				t.Fatal(err)
			}
			// What is saved has as many rules as what there is later, of another
			// container: its address is somebody else's then.
			h.MustDocker("run", "-d", "--name", "old", "-p", "8080:80", "nginx")
			old := address(h, "old")
			if r := shell(admin.save); r.Code != 0 {
				t.Fatalf("%+v", r)
			}
			h.MustDocker("rm", "-f", "old")
			for i := 0; ; i++ {
				name := fmt.Sprint("next", i)
				h.MustDocker("run", "-d", "--name", name, "-p", "8080:80", "nginx")
				if address(h, name) != old {
					h.MustDocker("rename", name, "web")
					break
				}
				h.MustDocker("rm", "-f", name)
				h.MustDocker("run", "-d", "nginx", "sleep", "1000") // has the address now
			}
			const url = "http://127.0.0.1:8080/"
			served(t, h, url, time.Now())
			pid := h.MustDocker("inspect", "-f", "{{.State.Pid}}", "web")
			faults := map[string]string{
				"the firewall is flushed":                  "nft flush ruleset",
				"the administrator's own rules are loaded": admin.reload + "own",
				"rules are loaded that were saved before":  admin.reload + "saved",
				"the bridge is deleted":                    "ip link del $(ip -o link show type bridge | cut -d: -f2)",
				"the bridge is down":                       "ip link set $(ip -o link show type bridge | cut -d: -f2) down",
				"one of several links leaves their bridge": "ip link set $(ip -o link show type veth master $(ip -o link show type bridge | cut -d: -f2) | cut -d: -f2 | cut -d@ -f1 | tail -n1) nomaster",
			}
			for what, script := range faults {
				began := time.Now()
				if r := shell(script); r.Code != 0 {
					t.Errorf("%s: %+v", what, r)
				}
				took := served(t, h, url, began)
				t.Logf("%s: served again after %v", what, took)
				if most := limit(2*time.Second, 5*time.Second); took > most {
					t.Errorf("%s: %v, want %v at most", what, took, most)
				}
				if rules := shell(admin.list).Stdout; strings.HasSuffix(script, " own") && !strings.Contains(rules, "4242") {
					t.Errorf("%s: they are gone: %s", what, rules)
				}
			}
			if now := h.MustDocker("inspect", "-f", "{{.State.Pid}} {{.RestartCount}}", "web"); now != pid+" 0" {
				t.Errorf("the container was restarted: %s, was %s", now, pid)
			}
			wantWorks(t, h)
		})
	}
}

// address is a container's on the default network.
func address(h *testkit.Host, name string) string {
	return h.MustDocker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
}

func TestACgroupThatSomebodyRemoves(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "--memory", "64m", "busybox", "sh", "-c", "trap 'exit 9' TERM; while true; do sleep 0.1; done")
	pid := h.MustDocker("inspect", "-f", "{{.State.Pid}}", id)
	removed := 0
	for _, root := range hierarchies(t) {
		dir := filepath.Join(root, h.Cgroup(), id)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		h.Eventually(10*time.Second, dir+" is removed", func() bool {
			for _, p := range strings.Fields(read(t, dir+"/cgroup.procs")) {
				if err := os.WriteFile(root+"/cgroup.procs", []byte(p), 0o644); err != nil {
					return false
				}
			}
			return os.Remove(dir) == nil
		})
		removed++
	}
	if removed == 0 {
		t.Fatalf("no cgroup of %s below %s in %v", id, h.Cgroup(), hierarchies(t))
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

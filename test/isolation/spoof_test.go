package isolation

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// forgery is a container that sends frames in the name of another on the default
// bridge: ARP answers, packets with its address, frames with its hardware address.
type forgery struct {
	flags []string
	// listener is on the network where they may arrive.
	listener string
	arrive   bool
	// docker says the same of docker.io, where it is otherwise.
	docker bool
}

func forgeries() map[string]forgery {
	return map[string]forgery{
		"a-neighbour":          {listener: "bridge", arrive: true, docker: true},
		"without-NET_RAW":      {flags: []string{"--cap-drop", "NET_RAW"}, listener: "bridge"},
		"another-user":         {flags: []string{"--user", "1000"}, listener: "bridge"},
		"from-another-network": {flags: []string{"--network", "other"}, listener: "bridge"},
		"to-another-network":   {listener: "other"},
		"closed-to-each-other": {flags: []string{"--network", "closed"}, listener: "closed", docker: true},
	}
}

// Who may send raw packets can forge them on its own network, as with docker.io;
// nobody can on another, on one whose containers are closed to each other, or
// without the capability.
func TestForgedFramesStayOnTheirNetwork(t *testing.T) {
	h := testkit.Start(t)
	path := probePath(t, h)
	got := forged(t, h, h.Docker, path, "busybox")
	for name, f := range forgeries() {
		if want := kinds(f.arrive); got[name] != want {
			t.Errorf("%s: %q arrives on network %s, want %q", name, got[name], f.listener, want)
		}
	}
	if !*withDocker {
		return
	}
	theirs := forged(t, h, h.StartDockerd().Run, path, h.Registry+"/library/busybox")
	for name, f := range forgeries() {
		switch {
		case theirs[name] == got[name]:
			t.Logf("%s: %q, equal to docker.io", name, got[name])
		case got[name] == "" && f.docker:
			t.Logf("%s: none arrives, stricter than docker.io: %q", name, theirs[name])
		default:
			t.Errorf("%s: %q, docker.io %q: not explained", name, got[name], theirs[name])
		}
	}
}

func kinds(all bool) string {
	if all {
		return "address arp hardware-address"
	}
	return ""
}

// forged lets each container forge and returns the kinds that arrive, by name.
func forged(t *testing.T, h *testkit.Host, docker func(...string) testkit.Result, path, image string) map[string]string {
	t.Helper()
	must := func(args ...string) string {
		t.Helper()
		r := docker(args...)
		if r.Code != 0 {
			t.Fatalf("docker %s: exit code %d: %s", strings.Join(args, " "), r.Code, r.Stderr)
		}
		return r.Out()
	}
	must("pull", "-q", image)
	must("network", "create", "other")
	must("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "closed")
	victim := must("run", "-d", image, "sleep", "1000")
	address := must("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", victim)
	listeners := map[string]string{}
	for _, network := range []string{"bridge", "other", "closed"} {
		listeners[network] = must("run", "-d", "--network", network, "-v", path+":/probe:ro", image, "/probe", "listen")
	}
	for network, id := range listeners {
		h.Eventually(10*time.Second, "somebody listens on network "+network, func() bool { return strings.HasPrefix(must("logs", id), "listening") })
	}
	for _, name := range slices.Sorted(maps.Keys(forgeries())) {
		args := append(append([]string{"run", "--rm", "-v", path + ":/probe:ro"}, forgeries()[name].flags...), image, "/probe", "forge", address, name)
		if r := docker(args...); r.Code != 0 && !strings.Contains(r.Stderr, "operation not permitted") {
			t.Errorf("%s: exit code %d: %s", name, r.Code, r.Stderr)
		}
	}
	arrived := map[string]string{}
	for name, f := range forgeries() {
		var list []string
		for line := range strings.Lines(must("logs", listeners[f.listener])) {
			if kind, who, found := strings.Cut(strings.TrimSpace(line), ":"); found && who == name {
				list = append(list, kind)
			}
		}
		slices.Sort(list)
		arrived[name] = strings.Join(list, " ")
	}
	for _, id := range append(slices.Collect(maps.Values(listeners)), victim) {
		must("rm", "-f", id)
	}
	must("network", "rm", "other", "closed")
	return arrived
}

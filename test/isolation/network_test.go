package isolation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/strakehq/strake/test/testkit"
)

// gaveUp bounds an attempt whose packets are dropped. Attempts that must
// succeed go the same way, so that a slow machine cannot pass for a closed one.
const gaveUp = 2 * time.Second

// neighbour is another host on the wire of the test's host: 198.51.100.254 on a
// link "ext1", with the host as its router.
func neighbour(t *testing.T, h *testkit.Host) *testkit.Namespace {
	t.Helper()
	n := testkit.NewNamespace(t)
	fd := make(chan int, 1)
	err := n.Do(func() error {
		for _, name := range []string{"ext0"} { // its own wire, which leads nowhere
			k, err := netlink.LinkByName(name)
			if err == nil {
				err = netlink.LinkDel(k)
			}
			if err != nil {
				return err
			}
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		t.Cleanup(func() { f.Close() })
		fd <- int(f.Fd())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	steps := []func() error{
		func() error {
			return h.Namespace().Do(func() error {
				k, err := netlink.LinkByName("ext1")
				if err != nil {
					return err
				}
				return netlink.LinkSetNsFd(k, <-fd)
			})
		},
		func() error {
			return n.Do(func() error {
				k, err := netlink.LinkByName("ext1")
				if err != nil {
					return err
				}
				addr, err := netlink.ParseAddr("198.51.100.254/24")
				if err != nil {
					return err
				}
				if err := errors.Join(netlink.AddrAdd(k, addr), netlink.LinkSetUp(k)); err != nil {
					return err
				}
				return netlink.RouteAdd(&netlink.Route{LinkIndex: k.Attrs().Index, Gw: net.IPv4(198, 51, 100, 1)})
			})
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("wire a neighbour: %v", err)
		}
	}
	return n
}

// sendLoopbackOut makes a namespace send packets for 127.0.0.1 to the host.
func sendLoopbackOut(t *testing.T, n *testkit.Namespace) {
	t.Helper()
	err := n.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr("127.0.0.1/8")
		if err != nil {
			return err
		}
		if err := netlink.AddrDel(lo, addr); err != nil {
			return err
		}
		k, err := netlink.LinkByName("ext1")
		if err != nil {
			return err
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/ext1/route_localnet", []byte("1"), 0); err != nil {
			return err
		}
		_, dst, err := net.ParseCIDR("127.0.0.1/32")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: k.Attrs().Index, Gw: net.IPv4(198, 51, 100, 1), Dst: dst})
	})
	if err != nil {
		t.Fatalf("route 127.0.0.1 to the host: %v", err)
	}
}

// reach says how connecting from a namespace ends.
func reach(n *testkit.Namespace, address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), gaveUp)
	defer cancel()
	c, err := n.DialContext(ctx, "tcp4", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// CVE-2020-8558, CVE-2025-67499 and Docker's direct routing before 28: another
// host on the wire reached what was published on 127.0.0.1, or containers' ports
// that were not published.
func TestNeighboursReachPublishedPortsOnly(t *testing.T) {
	h := testkit.Start(t)
	n := neighbour(t, h)
	h.MustDocker("network", "create", "other")
	web := h.MustDocker("run", "-d", "-p", "8080:80", "-p", "127.0.0.1:8081:80", "nginx")
	lone := h.MustDocker("run", "-d", "--network", "other", "nginx")
	address := func(id, network string) string {
		return h.MustDocker("inspect", "-f", fmt.Sprintf(`{{(index .NetworkSettings.Networks %q).IPAddress}}`, network), id) + ":80"
	}
	gateway := h.MustDocker("inspect", "-f", `{{.NetworkSettings.Networks.bridge.Gateway}}`, web)
	h.Eventually(10*time.Second, "nginx answers its neighbours", func() bool { return reach(n, "198.51.100.1:8080") == nil })
	for _, a := range []string{"127.0.0.1:8081", address(web, "bridge"), address(lone, "other")} {
		h.Eventually(10*time.Second, "the host itself reaches "+a, func() bool { return reach(h.Namespace(), a) == nil })
	}
	// Administrators and other programs set this for all links.
	if err := h.Namespace().Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	sendLoopbackOut(t, n)
	var wait sync.WaitGroup
	closed := func(who, a string, try func() error) {
		wait.Go(func() {
			if err := try(); err == nil {
				t.Errorf("%s reaches %s", who, a)
			}
		})
	}
	for what, a := range map[string]string{
		"a port published on loopback":                 "127.0.0.1:8081",
		"a port published on loopback, by the address": "198.51.100.1:8081",
		"a port published on loopback, by the bridge":  gateway + ":8081",
		"a container's port, past the published one":   address(web, "bridge"),
		"a container's port that is not published":     address(lone, "other"),
	} {
		closed("a neighbour", what, func() error { return reach(n, a) })
	}
	wait.Wait()
	if err := reach(n, "198.51.100.1:8080"); err != nil {
		t.Errorf("the published port is not reached any more: %v", err)
	}
}

// CVE-2020-15257: containers with the host's network reached shims by abstract
// sockets. Neither the daemon nor a driver or shim listens on any, nor on a port.
func TestTheHostsNetworkOffersNoSocketOfTheEngine(t *testing.T) {
	h := testkit.Start(t)
	path := probePath(t, h)
	h.MustDocker("run", "-d", "busybox", "sleep", "1000")
	got := look(t, h.Docker, path, "busybox", "--network", "host")
	if strings.Contains(got["unix.abstract"], "=ok") || got["unix.files"] != "" {
		t.Errorf("unix sockets are within reach: %s %s", got["unix.abstract"], got["unix.files"])
	}
	r := h.Docker("run", "--rm", "--network", "host", "busybox", "netstat", "-ltun")
	for l := range strings.Lines(r.Stdout) {
		f := strings.Fields(l)
		if len(f) > 4 && !strings.HasSuffix(f[3], ":5000") && strings.Contains(f[3], ":") {
			t.Errorf("somebody listens on the network: %s", l)
		}
	}
}

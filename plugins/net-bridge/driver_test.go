package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/network"
)

// The tests here are about what the contract leaves to the driver.

func ensured(t *testing.T, d network.Driver) network.Network {
	t.Helper()
	n, err := d.EnsureNetwork(t.Context(), network.Network{ID: "default", Name: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func attached(t *testing.T, d network.Driver, id string, ports ...network.Port) network.Attachment {
	t.Helper()
	a, err := d.Attach(t.Context(), network.AttachRequest{
		Endpoint: network.EndpointID(id), Network: "default", NetNS: pinned(t), IfName: "eth0", DefaultRoute: true, Ports: ports,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// CVE-2020-13401 and CVE-2020-10749: a container announced itself as the host's
// IPv6 router.
func TestTheHostTakesNoRoutesFromABridge(t *testing.T) {
	t.Parallel()
	if !conformance.Isolated(t) {
		return
	}
	s := subject(t, "binary", "nftables")
	ensured(t, s.Driver())
	for setting, want := range map[string]string{
		"ipv6/conf/strake0/accept_ra": "0", "ipv6/conf/strake0/accept_redirects": "0", "ipv6/conf/strake0/disable_ipv6": "1",
		"ipv4/conf/strake0/accept_redirects": "0",
	} {
		got, err := os.ReadFile("/proc/sys/net/" + setting)
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q (%v), want %s", setting, got, err, want)
		}
	}
}

func TestAPublishedPortCannotBeTakenByAProcess(t *testing.T) {
	t.Parallel()
	if !conformance.Isolated(t) {
		return
	}
	s := subject(t, "killed", "nftables")
	ensured(t, s.Driver())
	attached(t, s.Driver(), "e", network.Port{Protocol: network.TCP, HostPort: 8080, ContainerPort: 80})
	taken := func(when string) {
		t.Helper()
		for _, addr := range []string{"0.0.0.0:8080", "127.0.0.1:8080", "[::]:8080"} {
			l, err := net.Listen("tcp", addr)
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s, listen on %s: %v", when, addr, err)
			}
		}
		if _, err := net.Dial("tcp6", "[::1]:8080"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s, dial ::1: %v, want a refusal that makes clients go on to 127.0.0.1", when, err)
		}
	}
	taken("at first")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	taken("after a kill")
}

func TestAPortOfAFormerServerIsNotBusy(t *testing.T) {
	t.Parallel()
	if !conformance.Isolated(t) {
		return
	}
	// The server closes first, so its side of the connection stays in
	// TIME_WAIT.
	l, err := net.Listen("tcp4", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	c.Read(make([]byte, 1))
	c.Close()
	l.Close()
	d := subject(t, "direct", "nftables").Driver()
	ensured(t, d)
	attached(t, d, "e", network.Port{Protocol: network.TCP, HostPort: 8080, ContainerPort: 80})
}

func TestRulesGoToIptablesWhenItDropsByPolicy(t *testing.T) {
	t.Parallel()
	if !conformance.Isolated(t) {
		return
	}
	s := subject(t, "direct", "auto")
	ensured(t, s.Driver())
	attached(t, s.Driver(), "e", network.Port{Protocol: network.TCP, HostPort: 8080, ContainerPort: 80})
	if !strings.Contains(run(t, "nft", "list", "tables"), "table ip strake") {
		t.Fatal("nftables was not chosen on a host without rules")
	}
	run(t, "iptables", "-P", "FORWARD", "DROP")
	within10s(t, "the rules are in iptables and no longer in nftables", func() bool {
		return strings.Contains(run(t, "iptables-save"), "-A STRAKE-DNAT -p tcp -m tcp --dport 8080") &&
			!strings.Contains(run(t, "nft", "list", "tables"), "table ip strake")
	})
	// A driver that starts on such a host chooses at once.
	again := subject(t, "direct", "auto")
	if err := again.Driver().Check(t.Context(), "e"); err == nil {
		t.Fatal("a driver with other directories knows the endpoint")
	}
	if strings.Contains(run(t, "nft", "list", "tables"), "table ip strake") {
		t.Fatal("nftables was chosen although iptables drops by policy")
	}
}

func TestTheAdministratorsChainIsAskedFirstAndKept(t *testing.T) {
	for _, firewall := range []string{"nftables", "iptables"} {
		t.Run(firewall, func(t *testing.T) {
			t.Parallel()
			if !conformance.Isolated(t) {
				return
			}
			s := subject(t, "killed", firewall)
			ensured(t, s.Driver())
			add := map[string][]string{
				"nftables": {"nft", "add", "rule", "ip", "strake", "STRAKE-USER", "tcp", "dport", "80", "drop"},
				"iptables": {"iptables", "-A", "STRAKE-USER", "-p", "tcp", "--dport", "80", "-j", "DROP"},
			}[firewall]
			run(t, add[0], add[1:]...)
			a := attached(t, s.Driver(), "e", network.Port{Protocol: network.TCP, HostPort: 8080, ContainerPort: 80})
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			ensured(t, s.Driver())
			if out := run(t, "nft", "list", "ruleset"); strings.Count(out, "dport 80") == 0 {
				t.Fatalf("the administrator's rule is gone:\n%s", out)
			}
			// It is for forwarded packets: another container is, the host is not.
			var l net.Listener
			within(t, a.NetNS, func() (err error) {
				l, err = net.Listen("tcp4", ":80")
				return err
			})
			defer l.Close()
			other := attached(t, s.Driver(), "other")
			within(t, other.NetNS, func() error {
				c, err := net.DialTimeout("tcp4", "172.30.0.1:8080", 300*time.Millisecond)
				if err == nil {
					c.Close()
					return errors.New("the connection passes the administrator's rule")
				}
				return nil
			})
		})
	}
}

func TestCollectingEverythingLeavesNoLinkAndNoRule(t *testing.T) {
	for _, firewall := range []string{"nftables", "iptables"} {
		t.Run(firewall, func(t *testing.T) {
			t.Parallel()
			if !conformance.Isolated(t) {
				return
			}
			d := subject(t, "direct", firewall).Driver()
			ensured(t, d)
			attached(t, d, "e", network.Port{Protocol: network.TCP, HostPort: 8080, ContainerPort: 80})
			if err := d.Collect(t.Context(), nil, nil); err != nil {
				t.Fatal(err)
			}
			links, err := netlink.LinkList()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range links {
				if l.Attrs().Alias != "" {
					t.Errorf("left: %s (%s)", l.Attrs().Name, l.Attrs().Alias)
				}
			}
			if out := strings.ToLower(run(t, "nft", "list", "ruleset")); strings.Contains(out, "strake") {
				t.Errorf("left: %s", out)
			}
		})
	}
}

func TestATableOfAnotherShapeIsMadeAnew(t *testing.T) {
	t.Parallel()
	if !conformance.Isolated(t) {
		return
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	c.AddSet(&nftables.Set{Table: c.AddTable(&nftables.Table{Name: "strake", Family: nftables.TableFamilyIPv4}), Name: "ports", KeyType: nftables.TypeIPAddr}, nil)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	d := subject(t, "direct", "nftables").Driver()
	ensured(t, d)
	attached(t, d, "e", network.Port{Protocol: network.TCP, HostPort: 8080, ContainerPort: 80})
	if err := d.Check(t.Context(), "e"); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func within10s(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within ten seconds: %s", what)
}

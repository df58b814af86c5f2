package isolation

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/strakehq/strake/test/testkit"
)

// route has a namespace send packets for a network to a gateway.
func route(t *testing.T, n *testkit.Namespace, network, gateway string) {
	t.Helper()
	err := n.Do(func() error {
		_, dst, err := net.ParseCIDR(network)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(gateway)})
	})
	if err != nil {
		t.Fatalf("route %s by %s: %v", network, gateway, err)
	}
}

// whoAnswers is what a web server says of itself.
func whoAnswers(n *testkit.Namespace, address string) string {
	c := http.Client{Timeout: gaveUp, Transport: &http.Transport{DisableKeepAlives: true, DialContext: n.DialContext}}
	resp, err := c.Get("http://" + address)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err.Error()
	}
	return resp.Header.Get("Server")
}

// CVE-2025-67499: what passes through the host on its way to another one's port was
// led to the container that has published the same port.
func TestAPublishedPortTakesNothingThatIsForOtherHosts(t *testing.T) {
	for _, firewall := range []string{"nftables", "iptables"} {
		t.Run(firewall, func(t *testing.T) {
			h := testkit.Start(t, testkit.WithConfig(fmt.Sprintf("[network.options]\nfirewall = %q\n", firewall)))
			client, server := testkit.NewNamespace(t), testkit.NewNamespace(t)
			if err := errors.Join(
				h.Namespace().Connect(client, "left0", "192.0.2.1/24", "192.0.2.2/24"),
				h.Namespace().Connect(server, "right0", "203.0.113.1/24", "203.0.113.2/24"),
				h.Namespace().Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }),
			); err != nil {
				t.Fatal(err)
			}
			route(t, client, "203.0.113.0/24", "192.0.2.1")
			route(t, server, "192.0.2.0/24", "203.0.113.1")
			var l net.Listener
			if err := server.Do(func() (err error) {
				l, err = net.Listen("tcp4", "203.0.113.2:8080")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			web := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", "the other host") }), ReadTimeout: time.Minute}
			defer web.Close()
			go web.Serve(l) //nolint:errcheck // until Close
			if got := whoAnswers(client, "203.0.113.2:8080"); got != "the other host" {
				t.Fatalf("before anything is published: %s", got)
			}
			h.MustDocker("run", "-d", "-p", "8080:80", "nginx")
			for _, a := range []string{"192.0.2.1:8080", "203.0.113.1:8080"} {
				h.Eventually(10*time.Second, "the container answers at "+a, func() bool { return strings.HasPrefix(whoAnswers(client, a), "nginx") })
			}
			if got := whoAnswers(client, "203.0.113.2:8080"); got != "the other host" {
				t.Errorf("what is for another host is answered by %q", got)
			}
			if got := whoAnswers(server, "192.0.2.2:8080"); strings.HasPrefix(got, "nginx") {
				t.Errorf("for a host where nobody listens, %q answers", got)
			}
		})
	}
}

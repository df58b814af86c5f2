package conformance

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"

	"github.com/strakehq/strake/sdk/network"
)

func randomID() string { return strings.ToLower(rand.Text()) }

func attachCases() []netCase {
	return []netCase{
		{"an attached namespace has the addresses, routes and interface of the answer", checkInside},
		{"attaching again gives the same answer", func(l *netLab) {
			g := l.attach(l.network(network.Network{}), port(0, 80, network.TCP))
			for range 3 {
				l.crash()
				a, err := l.d.Attach(l.ctx, g.request)
				l.NoError(err, "attach again")
				sameAttachment(l, a, g.Attachment)
			}
		}},
		{"attaching again with other properties is ErrAlreadyExists", func(l *netLab) {
			g := l.attach(l.network(network.Network{}))
			r := g.request
			r.IfName = "eth7"
			_, err := l.d.Attach(l.ctx, r)
			l.ErrorIs(err, errdefs.ErrAlreadyExists, "attach")
		}},
		{"wanted addresses are given", func(l *netLab) {
			n := l.network(network.Network{Subnets: []network.Subnet{{Prefix: netip.MustParsePrefix("10.213.1.0/24")}}})
			r := l.request(newNetNS(l.T), n.ID)
			r.IPv4, r.MAC = netip.MustParseAddr("10.213.1.77"), "02:00:5e:10:00:01"
			a, err := l.d.Attach(l.ctx, r)
			l.NoError(err, "attach")
			if ip := (guest{Attachment: a}).addr(); ip != r.IPv4 || a.MAC != r.MAC {
				l.Fatalf("got %s %s, want %s %s", ip, a.MAC, r.IPv4, r.MAC)
			}
			taken := func(r2 *network.AttachRequest) { r2.IPv4 = r.IPv4 }
			l.ErrorIs(l.attachErr(n, taken), errdefs.ErrConflict, "want a taken address")
			outside := func(r2 *network.AttachRequest) { r2.IPv4 = netip.MustParseAddr("10.214.1.77") }
			l.ErrorIs(l.attachErr(n, outside), errdefs.ErrInvalidArgument, "want an address outside the subnet")
		}},
		{"an address is not used again at once, but rather than none", func(l *netLab) {
			n := l.network(network.Network{Subnets: []network.Subnet{{Prefix: netip.MustParsePrefix("10.213.2.0/29")}}})
			first := l.attach(n)
			l.NoError(l.d.Detach(l.ctx, first.Endpoint), "detach")
			if second := l.attach(n); second.addr() == first.addr() {
				l.Fatalf("%s was given out twice in a row", first.addr())
			}
			for range 4 {
				l.attach(n)
			}
			l.ErrorIs(l.attachErr(n, func(*network.AttachRequest) {}), errdefs.ErrResourceExhausted, "attach to a full network")
		}},
		{"bad requests are ErrInvalidArgument", func(l *netLab) {
			n := l.network(network.Network{})
			for what, change := range map[string]func(*network.AttachRequest){
				"hardware address": func(r *network.AttachRequest) { r.MAC = "nonsense" },
				"endpoint id":      func(r *network.AttachRequest) { r.Endpoint = "../evil" },
				"no interface":     func(r *network.AttachRequest) { r.IfName = "" },
				"protocol":         func(r *network.AttachRequest) { r.Ports = []network.Port{port(0, 80, "icmp")} },
				"container port":   func(r *network.AttachRequest) { r.Ports = []network.Port{port(8080, 0, network.TCP)} },
			} {
				l.ErrorIs(l.attachErr(n, change), errdefs.ErrInvalidArgument, "attach with a bad "+what)
			}
			l.ends = nil
		}},
		{"a missing namespace is ErrNotFound and leaves nothing", func(l *netLab) {
			n := l.network(network.Network{})
			ns := newNetNS(l.T)
			ns.unpin()
			r := l.request(ns, n.ID)
			_, err := l.d.Attach(l.ctx, r)
			l.ErrorIs(err, errdefs.ErrNotFound, "attach")
			if l.listed(r.Endpoint) {
				l.Fatalf("the failed endpoint is listed")
			}
			l.NoError(l.d.RemoveNetwork(l.ctx, n.ID), "remove the network")
		}},
		{"detaching is idempotent, and fine when the namespace is gone", func(l *netLab) {
			n := l.network(network.Network{})
			g := l.attach(n)
			g.unpin()
			for range 3 {
				l.NoError(l.d.Detach(l.ctx, g.Endpoint), "detach")
				l.crash()
			}
			if l.listed(g.Endpoint) {
				l.Fatalf("a detached endpoint is listed")
			}
			l.NoError(l.d.Detach(l.ctx, "conf-never-was"), "detach what never was")
			l.ErrorIs(l.d.Check(l.ctx, g.Endpoint), errdefs.ErrNotFound, "check what is gone")
		}},
		{"a detached interface goes away soon", func(l *netLab) {
			g := l.attach(l.network(network.Network{}))
			l.NoError(l.d.Detach(l.ctx, g.Endpoint), "detach")
			l.crash()
			eventually(l.T, 5*time.Second, "no interface is left inside", func() error {
				return g.do(func() error {
					_, err := netlink.LinkByName("eth0")
					if err == nil {
						return errors.New("eth0 is still there")
					}
					return nil
				})
			})
		}},
		{"many attach at once and get addresses and handles of their own", attachMany},
		{"names can be replaced", func(l *netLab) {
			g := l.attach(l.network(network.Network{}))
			for range 2 {
				l.NoError(l.d.SetNames(l.ctx, g.Endpoint, []string{"web", "www"}), "set names")
			}
			l.ErrorIs(l.d.SetNames(l.ctx, "conf-never-was", nil), errdefs.ErrNotFound, "set names of nobody")
			_, err := l.d.Attach(l.ctx, g.request)
			l.NoError(err, "attach again")
		}},
	}
}

func checkInside(l *netLab) {
	n := l.network(network.Network{})
	g := l.attach(n)
	l.NoError(l.d.Check(l.ctx, g.Endpoint), "check")
	if !l.listed(g.Endpoint) {
		l.Fatalf("the endpoint is not listed")
	}
	if !n.Subnets[0].Prefix.Contains(g.addr()) {
		l.Fatalf("address %s is not of subnet %s", g.addr(), n.Subnets[0].Prefix)
	}
	l.NoError(g.do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		addrs, err := i.Addrs()
		if err != nil {
			return err
		}
		if i.Flags&net.FlagRunning == 0 {
			return errors.New("eth0 is not ready to send yet")
		}
		if i.HardwareAddr.String() != g.MAC || len(addrs) == 0 || addrs[0].String() != g.Result.IPs[0].Address.String() {
			return fmt.Errorf("eth0 has %s %v, the answer says %s %s", i.HardwareAddr, addrs, g.MAC, &g.Result.IPs[0].Address)
		}
		routes, err := netlink.RouteGet(net.IPv4(192, 0, 2, 1))
		if err != nil {
			return fmt.Errorf("default route: %w", err)
		}
		if !routes[0].Gw.Equal(n.Subnets[0].Gateway.AsSlice()) {
			return fmt.Errorf("default route by %s, want %s", routes[0].Gw, n.Subnets[0].Gateway)
		}
		return nil
	}), "look inside")
}

func sameAttachment(l *netLab, got, want network.Attachment) {
	g, w := guest{Attachment: got}, guest{Attachment: want}
	if g.addr() != w.addr() || got.MAC != want.MAC || fmt.Sprint(got.Ports) != fmt.Sprint(want.Ports) || got.Container != want.Container {
		l.Fatalf("got %+v, want %+v", got, want)
	}
}

func attachMany(l *netLab) {
	const many = 12
	n := l.network(network.Network{})
	var requests []network.AttachRequest
	for range many {
		requests = append(requests, l.request(newNetNS(l.T), n.ID, port(0, 80, network.TCP)))
	}
	var wg sync.WaitGroup
	var got [many]network.Attachment
	var errs [many]error
	for i, r := range requests {
		wg.Go(func() { got[i], errs[i] = l.d.Attach(l.ctx, r) })
	}
	wg.Wait()
	l.NoError(errors.Join(errs[:]...), "attach")
	seen := map[string]bool{}
	for _, a := range got {
		ip := (guest{Attachment: a}).addr().String()
		hp := fmt.Sprint(a.Ports[0].HostPort)
		if seen[ip] || seen[hp] {
			l.Fatalf("%s or port %s was given twice", ip, hp)
		}
		note := "handle " + string(a.Handle.State)
		if len(a.Handle.State) > 0 && seen[note] {
			l.Fatalf("two endpoints have the %s", note)
		}
		seen[ip], seen[hp], seen[note] = true, true, true
	}
}

package conformance

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
)

// NetworkEnv is what the cases for network drivers need to know beyond the
// driver. The process that runs the cases must be root and in the driver's own
// network namespace, which stands for the host and should be private to the
// test: the cases make links, routes and listeners in it.
type NetworkEnv struct {
	// Flush removes all packet filter rules of the namespace, as a careless
	// administrator might. Nil leaves out the cases that need it.
	Flush func(ctx context.Context) error
}

// NetworkCases are the demands of the network contract. The cases send real
// traffic between namespaces that they make. They must not run in parallel.
func NetworkCases(s Subject[network.Driver], env NetworkEnv) []Case {
	var all []Case
	for _, group := range [][]netCase{networkObjectCases(), attachCases(), trafficCases(), portCases(), crashCases(), flushCases(env)} {
		for _, c := range group {
			all = append(all, Case{Name: c.name, Run: func(t *T) { c.run(newNetLab(t, s)) }})
		}
	}
	return all
}

type netCase struct {
	name string
	run  func(l *netLab)
}

// netLab is one case's driver and what it made with it.
type netLab struct {
	*T
	subject Subject[network.Driver]
	d       network.Driver
	info    driver.Info
	nets    []network.NetworkID
	ends    []network.EndpointID
}

func newNetLab(t *T, s Subject[network.Driver]) *netLab {
	l := &netLab{T: t, subject: s, d: s.Driver()}
	var err error
	l.info, err = l.d.Info(t.ctx)
	t.NoError(err, "info")
	t.Cleanup(l.clear)
	return l
}

// clear detaches and removes all; a driver that cannot fails the case.
func (l *netLab) clear() {
	ctx := context.WithoutCancel(l.ctx)
	d := l.subject.Driver()
	for _, id := range l.ends {
		if err := d.Detach(ctx, id); err != nil {
			l.Errorf("clean up: detach %s: %w", id, err)
		}
	}
	for _, id := range l.nets {
		if err := d.RemoveNetwork(ctx, id); err != nil {
			l.Errorf("clean up: remove network %s: %w", id, err)
		}
	}
}

// crash kills the driver, if it can be killed.
func (l *netLab) crash() { l.d = l.subject.Crash(l.T) }

func (l *netLab) needs(c driver.Capability) {
	if !slices.Contains(l.info.Capabilities, c) {
		l.Skipf("the driver does not declare %s", c)
	}
}

// network makes a network with an id of its own.
func (l *netLab) network(want network.Network) network.Network {
	want.ID = network.NetworkID("conf-net-" + randomID())
	if want.Name == "" {
		want.Name = string(want.ID)
	}
	l.nets = append(l.nets, want.ID)
	got, err := l.d.EnsureNetwork(l.ctx, want)
	l.NoError(err, "ensure network")
	return got
}

// guest is a container: a namespace and its attachment.
type guest struct {
	*netNS
	network.Attachment
	request network.AttachRequest
}

// addr is the guest's IPv4 address.
func (g guest) addr() netip.Addr {
	a, _ := netip.AddrFromSlice(g.Result.IPs[0].Address.IP)
	return a.Unmap()
}

// web is the guest's port 80.
func (g guest) web() string {
	return netip.AddrPortFrom(g.addr(), 80).String()
}

// request describes an attachment with an id of its own.
func (l *netLab) request(ns *netNS, n network.NetworkID, ports ...network.Port) network.AttachRequest {
	r := network.AttachRequest{
		Endpoint: network.EndpointID("conf-end-" + randomID()), Network: n, Container: randomID(),
		NetNS: ns.path, IfName: "eth0", DefaultRoute: true, Hostname: "guest", Ports: ports,
	}
	l.ends = append(l.ends, r.Endpoint)
	return r
}

// attach makes a guest on a network.
func (l *netLab) attach(n network.Network, ports ...network.Port) guest {
	ns := newNetNS(l.T)
	r := l.request(ns, n.ID, ports...)
	a, err := l.d.Attach(l.ctx, r)
	l.NoError(err, "attach")
	if a.Result == nil || len(a.Result.IPs) == 0 {
		l.Fatalf("attach: the result has no address: %+v", a)
	}
	return guest{netNS: ns, Attachment: a, request: r}
}

// attachErr attaches a new namespace and returns the error.
func (l *netLab) attachErr(n network.Network, change func(*network.AttachRequest)) error {
	r := l.request(newNetNS(l.T), n.ID)
	change(&r)
	_, err := l.d.Attach(l.ctx, r)
	return err
}

func (l *netLab) listed(id network.EndpointID) bool {
	all, err := l.d.List(l.ctx)
	l.NoError(err, "list")
	return slices.ContainsFunc(all, func(a network.Attachment) bool { return a.Endpoint == id })
}

func networkObjectCases() []netCase {
	return []netCase{
		{"a network is answered with subnet and gateway, and asking again changes nothing", func(l *netLab) {
			n := l.network(network.Network{})
			if len(n.Subnets) == 0 || !n.Subnets[0].Prefix.Contains(n.Subnets[0].Gateway) {
				l.Fatalf("subnet and gateway are not filled in: %+v", n)
			}
			for _, again := range []network.Network{n, {ID: n.ID, Name: n.Name}} {
				l.crash()
				got, err := l.d.EnsureNetwork(l.ctx, again)
				l.NoError(err, "ensure again")
				if got.Subnets[0].Prefix != n.Subnets[0].Prefix || got.Subnets[0].Gateway != n.Subnets[0].Gateway {
					l.Fatalf("ensure again: got %+v, want %+v", got, n)
				}
			}
		}},
		{"a network that exists with other properties is ErrAlreadyExists", func(l *netLab) {
			n := l.network(network.Network{})
			n.Internal = !n.Internal
			_, err := l.d.EnsureNetwork(l.ctx, n)
			l.ErrorIs(err, errdefs.ErrAlreadyExists, "ensure with other properties")
		}},
		{"an unknown network option is ErrInvalidArgument", func(l *netLab) {
			_, err := l.d.EnsureNetwork(l.ctx, network.Network{ID: "conf-bad-option", Options: map[string]string{"org.example.no-such-option": "1"}})
			l.ErrorIs(err, errdefs.ErrInvalidArgument, "ensure")
		}},
		{"automatic subnets do not overlap", func(l *netLab) {
			a, b := l.network(network.Network{}), l.network(network.Network{})
			if a.Subnets[0].Prefix.Overlaps(b.Subnets[0].Prefix) {
				l.Fatalf("%s and %s overlap", a.Subnets[0].Prefix, b.Subnets[0].Prefix)
			}
		}},
		{"a subnet that overlaps with another network is ErrConflict", func(l *netLab) {
			n := l.network(network.Network{})
			_, err := l.d.EnsureNetwork(l.ctx, network.Network{ID: "conf-overlap", Subnets: []network.Subnet{{Prefix: n.Subnets[0].Prefix}}})
			l.ErrorIs(err, errdefs.ErrConflict, "ensure")
		}},
		{"a subnet that overlaps with a route of the host is ErrConflict", func(l *netLab) {
			w := newNeighbour(l.T)
			_, err := l.d.EnsureNetwork(l.ctx, network.Network{ID: "conf-route", Subnets: []network.Subnet{{Prefix: netip.PrefixFrom(w.host, 24).Masked()}}})
			l.ErrorIs(err, errdefs.ErrConflict, "ensure")
		}},
		{"a wanted subnet, gateway and range are kept, reserved addresses are not given out", func(l *netLab) {
			n := l.network(network.Network{Subnets: []network.Subnet{{
				Prefix: netip.MustParsePrefix("10.213.0.0/24"), Gateway: netip.MustParseAddr("10.213.0.254"),
				Range:    netip.MustParsePrefix("10.213.0.64/30"),
				Reserved: map[string]netip.Addr{"printer": netip.MustParseAddr("10.213.0.65")},
			}}})
			for range 3 {
				g := l.attach(n)
				if !n.Subnets[0].Range.Contains(g.addr()) || g.addr() == n.Subnets[0].Reserved["printer"] {
					l.Fatalf("address %s is not for containers", g.addr())
				}
			}
			l.ErrorIs(l.attachErr(n, func(*network.AttachRequest) {}), errdefs.ErrResourceExhausted, "attach a fourth time")
		}},
		{"a network with endpoints cannot be removed, one without can, twice", func(l *netLab) {
			n := l.network(network.Network{})
			g := l.attach(n)
			l.ErrorIs(l.d.RemoveNetwork(l.ctx, n.ID), errdefs.ErrFailedPrecondition, "remove with an endpoint")
			l.NoError(l.d.Detach(l.ctx, g.Endpoint), "detach")
			for range 2 {
				l.NoError(l.d.RemoveNetwork(l.ctx, n.ID), "remove")
				l.crash()
			}
			l.ErrorIs(l.attachErr(n, func(*network.AttachRequest) {}), errdefs.ErrNotFound, "attach to a removed network")
		}},
	}
}

func port(host, container int, p network.Protocol) network.Port {
	return network.Port{Protocol: p, HostPort: uint16(host), ContainerPort: uint16(container)}
}

func hostAddr(ip string, port uint16) string {
	if ip == "" {
		return ":" + strconv.Itoa(int(port))
	}
	return fmt.Sprintf("%s:%d", ip, port)
}

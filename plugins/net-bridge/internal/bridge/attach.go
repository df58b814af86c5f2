package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/strakehq/strake/plugins/net-bridge/internal/link"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/network"
	"github.com/strakehq/strake/sdk/trace"
)

// Attach records the endpoint, makes its link and publishes its ports.
func (d *Driver) Attach(ctx context.Context, r network.AttachRequest) (network.Attachment, error) {
	if err := d.configured(); err != nil {
		return network.Attachment{}, err
	}
	if err := checkAttach(r); err != nil {
		return network.Attachment{}, fmt.Errorf("endpoint %s: %w", r.Endpoint, err)
	}
	n, err := d.network(r.Network)
	if err != nil {
		return network.Attachment{}, fmt.Errorf("endpoint %s: %w", r.Endpoint, err)
	}
	e, made, err := d.enter(ctx, n, r)
	if err != nil {
		return network.Attachment{}, fmt.Errorf("endpoint %s: %w", r.Endpoint, err)
	}
	if err := d.realize(ctx, n, e); err != nil {
		if made {
			err = errors.Join(err, d.Detach(context.WithoutCancel(ctx), r.Endpoint))
		}
		return network.Attachment{}, fmt.Errorf("endpoint %s: attach to network %s: %w", r.Endpoint, r.Network, err)
	}
	return e.attachment(n)
}

func checkAttach(r network.AttachRequest) error {
	if err := checkID(string(r.Endpoint)); err != nil {
		return err
	}
	switch {
	case r.NetNS == "":
		return fmt.Errorf("no network namespace given: %w", errdefs.ErrInvalidArgument)
	case len(r.IfName) < 1 || len(r.IfName) > 15:
		return fmt.Errorf("interface name %q: want 1 to 15 bytes: %w", r.IfName, errdefs.ErrInvalidArgument)
	case r.IPv6.IsValid():
		return fmt.Errorf("address %s: IPv6 is not offered by this driver: %w", r.IPv6, errdefs.ErrInvalidArgument)
	}
	if r.MAC != "" {
		if m, err := net.ParseMAC(r.MAC); err != nil || len(m) != 6 || m[0]&1 != 0 {
			return fmt.Errorf("hardware address %q: want six bytes of a unicast address such as 02:42:ac:1e:00:02: %w", r.MAC, errdefs.ErrInvalidArgument)
		}
	}
	for _, p := range r.Ports {
		if err := checkPort(p); err != nil {
			return err
		}
	}
	return nil
}

func checkPort(p network.Port) error {
	switch {
	case !slices.Contains([]network.Protocol{network.TCP, network.UDP, network.SCTP}, p.Protocol):
		return fmt.Errorf("port %d: protocol %q: want tcp, udp or sctp: %w", p.ContainerPort, p.Protocol, errdefs.ErrInvalidArgument)
	case p.ContainerPort == 0:
		return fmt.Errorf("port 0/%s: container port missing: %w", p.Protocol, errdefs.ErrInvalidArgument)
	case p.HostPortEnd != 0 && p.HostPortEnd < p.HostPort:
		return fmt.Errorf("host ports %d-%d: range runs backwards: %w", p.HostPort, p.HostPortEnd, errdefs.ErrInvalidArgument)
	case p.HostIP.Is6():
		return fmt.Errorf("host address %s: the bridge driver publishes on IPv4 addresses: %w", p.HostIP, errdefs.ErrInvalidArgument)
	}
	return nil
}

// enter finds the endpoint's record or makes it, with address and host ports.
func (d *Driver) enter(ctx context.Context, n *netState, r network.AttachRequest) (e *endpoint, made bool, err error) {
	_, end := trace.Start(ctx, "bridge.allocate", "network", n.Have.Name)
	defer func() { end(err) }()
	for {
		d.mu.Lock()
		have, ok := d.endpoints[r.Endpoint]
		if ok && !have.Leaving {
			d.mu.Unlock()
			if !have.same(r) {
				return nil, false, fmt.Errorf("attached with other properties, detach it first: %w", errdefs.ErrAlreadyExists)
			}
			return have, false, nil
		}
		wait := ok
		if !ok {
			e, wait, err = d.allocate(n, r)
		}
		freed := d.freed
		d.mu.Unlock()
		if !wait {
			return e, e != nil, err
		}
		// A link is on its way out, and with it the id or an address.
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, false, fmt.Errorf("wait for endpoints that are leaving: %w", ctx.Err())
		}
	}
}

// allocate makes a record; d.mu is held. wait asks to try again when an
// endpoint that is leaving has left.
func (d *Driver) allocate(n *netState, r network.AttachRequest) (e *endpoint, wait bool, err error) {
	if n.Have.Internal && len(r.Ports) > 0 {
		return nil, false, fmt.Errorf("network %s is internal, no ports can be published on it: %w", n.Have.Name, errdefs.ErrInvalidArgument)
	}
	addr, leaving, err := d.address(n, r.IPv4)
	if err != nil {
		return nil, leaving, err
	}
	ports, err := d.ports.Reserve(r.Endpoint, n.hostIPs(r.Ports))
	if err != nil {
		return nil, false, err
	}
	mishap.Hit(mishap.BridgePortsTaken)
	e = &endpoint{
		Want: r, Ports: ports, Address: netip.PrefixFrom(addr, n.subnet().Prefix.Bits()), MAC: r.MAC,
		Host: hostLink(d.owner, r.Endpoint), Boot: d.boot,
	}
	if e.MAC == "" {
		e.MAC = macOf(addr).String()
	}
	c := cursor{Last: addr}
	if err := errors.Join(d.curDir.Put(string(r.Network), c), d.epDir.Put(string(r.Endpoint), e)); err != nil {
		return nil, false, errors.Join(fmt.Errorf("record: %w", err), d.ports.Release(r.Endpoint))
	}
	d.cursors[r.Network], d.endpoints[r.Endpoint] = c, e
	return e, false, nil
}

// hostIPs fills in the network's own host address where a port has none.
func (n *netState) hostIPs(ports []network.Port) []network.Port {
	out := slices.Clone(ports)
	for i := range out {
		if !out[i].HostIP.IsValid() {
			out[i].HostIP = n.HostIP
		}
	}
	return out
}

// cursor is the last address given out on a network.
type cursor struct{ Last netip.Addr }

// address picks the wanted or the next free address; d.mu is held. leaving
// says that an address may be free soon.
func (d *Driver) address(n *netState, want netip.Addr) (a netip.Addr, leaving bool, err error) {
	used := map[netip.Addr]*endpoint{}
	for _, e := range d.endpoints {
		if e.Want.Network == n.Have.ID {
			used[e.Address.Addr()] = e
			leaving = leaving || e.Leaving && !e.stuck
		}
	}
	s := n.subnet()
	taken := func(a netip.Addr) bool { return used[a] != nil || a == s.Gateway || reserved(&s, a) }
	if !want.IsValid() {
		a, err = n.ipam().Next(d.cursors[n.Have.ID].Last, taken)
		return a, leaving, err
	}
	if !n.ipam().Usable(want) {
		return a, false, fmt.Errorf("address %s is not a host address of subnet %s: %w", want, s.Prefix, errdefs.ErrInvalidArgument)
	}
	if want == s.Gateway || used[want] != nil {
		leaving = used[want] != nil && used[want].Leaving && !used[want].stuck
		return a, leaving, fmt.Errorf("address %s is in use: %w", want, errdefs.ErrConflict)
	}
	return want, false, nil
}

// realize makes link and rules what the record says.
func (d *Driver) realize(ctx context.Context, n *netState, e *endpoint) error {
	err := d.ensureLink(ctx, n, e)
	if err != nil {
		return err
	}
	d.setLinked(e.Want.Endpoint)
	return d.publish(ctx, e)
}

func (d *Driver) ensureLink(ctx context.Context, n *netState, e *endpoint) (err error) {
	_, end := trace.Start(ctx, "bridge.link", "interface", e.Want.IfName)
	defer func() { end(err) }()
	err = d.links.EnsureVeth(e.veth(n))
	switch {
	case errors.Is(err, link.ErrNoBridge):
		err = d.links.EnsureBridge(n.bridge())
	case errdefs.IsAlreadyExists(err):
		var waited bool
		if waited, err = d.left(ctx, e, err); !waited {
			return err
		}
	default:
		return err
	}
	if err != nil {
		return err
	}
	return d.links.EnsureVeth(e.veth(n))
}

// left waits for a link on its way out that has the interface's name; without
// one it returns refused.
func (d *Driver) left(ctx context.Context, e *endpoint, refused error) (waited bool, err error) {
	for {
		d.mu.Lock()
		found := false
		for _, o := range d.endpoints {
			found = found || o.Leaving && !o.stuck && o.Want.NetNS == e.Want.NetNS && o.Want.IfName == e.Want.IfName
		}
		freed := d.freed
		d.mu.Unlock()
		if !found {
			if waited {
				refused = nil
			}
			return waited, refused
		}
		waited = true
		select {
		case <-freed:
		case <-ctx.Done():
			return waited, errors.Join(refused, ctx.Err())
		}
	}
}

func (d *Driver) publish(ctx context.Context, e *endpoint) (err error) {
	if len(e.Ports) == 0 {
		return nil
	}
	ctx, end := trace.Start(ctx, "bridge.publish", "backend", d.rules.Backend())
	defer func() { end(err) }()
	if err := d.rules.SetForwards(ctx, e.Want.Endpoint, e.forwards()); err != nil {
		return err
	}
	d.forgetFlows(e)
	return nil
}

func defaultRoute(gw netip.Addr) *cnitypes.Route {
	return &cnitypes.Route{Dst: net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, GW: gw.AsSlice()}
}

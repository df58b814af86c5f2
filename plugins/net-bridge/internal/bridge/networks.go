package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/plugins/net-bridge/internal/ipam"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/network"
)

// EnsureNetwork makes a network or repairs its bridge and rules.
func (d *Driver) EnsureNetwork(ctx context.Context, r network.Network) (network.Network, error) {
	if err := d.configured(); err != nil {
		return network.Network{}, err
	}
	d.networking.Lock()
	defer d.networking.Unlock()
	n, err := d.network(r.ID)
	switch {
	case errdefs.IsNotFound(err):
		return d.makeNetwork(ctx, r)
	case err != nil:
		return network.Network{}, err
	case !n.same(r):
		return network.Network{}, fmt.Errorf("network %s: exists with other properties, remove it first: %w", r.ID, errdefs.ErrAlreadyExists)
	}
	if err := d.repair(ctx, n); err != nil {
		return network.Network{}, fmt.Errorf("network %s: repair: %w", r.ID, err)
	}
	return n.Have, nil
}

func (d *Driver) makeNetwork(ctx context.Context, r network.Network) (network.Network, error) {
	n, err := d.plan(r)
	if err != nil {
		return network.Network{}, fmt.Errorf("network %s: %w", r.ID, err)
	}
	if err := d.netDir.Put(string(r.ID), n); err != nil {
		return network.Network{}, fmt.Errorf("network %s: record: %w", r.ID, err)
	}
	d.mu.Lock()
	d.networks[r.ID] = n
	d.mu.Unlock()
	if err := d.repair(ctx, n); err != nil {
		undo := context.WithoutCancel(ctx)
		return network.Network{}, fmt.Errorf("network %s: create: %w", r.ID, errors.Join(err, d.unmake(undo, n)))
	}
	return n.Have, nil
}

// repair makes bridge and rules what they should be.
func (d *Driver) repair(ctx context.Context, n *netState) error {
	if err := d.links.EnsureBridge(n.bridge()); err != nil {
		return err
	}
	mishap.Hit(mishap.BridgeMade)
	if err := d.rules.SetNetwork(ctx, n.Have.ID, n.rules()); err != nil {
		return err
	}
	_, err := d.rules.Repair(ctx)
	return err
}

// plan decides on all that the request leaves open.
func (d *Driver) plan(r network.Network) (*netState, error) {
	if err := checkID(string(r.ID)); err != nil {
		return nil, err
	}
	n := &netState{Want: r, Have: r, MTU: d.settings.MTU, Masquerade: true, ICC: true}
	n.Bridge = "br-" + string(r.ID)[:min(12, len(r.ID))]
	isDefault, err := n.options(r, d.settings.Bridge)
	if err != nil {
		return nil, err
	}
	if r.IPv6 {
		return nil, fmt.Errorf("IPv6 is not offered by this driver (no capability %s): %w", network.CapIPv6, errdefs.ErrInvalidArgument)
	}
	used, err := d.usedSubnets(n.Bridge)
	if err != nil {
		return nil, err
	}
	n.Have.Subnets = slices.Clone(r.Subnets)
	if len(r.Subnets) == 0 {
		s, err := d.chooseSubnet(isDefault, used)
		if err != nil {
			return nil, err
		}
		n.Have.Subnets = []network.Subnet{s}
	}
	return n, complete(n, used)
}

func (d *Driver) chooseSubnet(isDefault bool, used []netip.Prefix) (network.Subnet, error) {
	if s := d.settings.subnet; isDefault && s.IsValid() {
		chosen := network.Subnet{Prefix: s.Masked()}
		if s.Addr() != s.Masked().Addr() {
			chosen.Gateway = s.Addr()
		}
		return chosen, nil
	}
	p, err := ipam.FreeSubnet(d.settings.Pools, used)
	return network.Subnet{Prefix: p}, err
}

// usedSubnets are those of other networks and of the host's routes.
func (d *Driver) usedSubnets(bridge string) ([]netip.Prefix, error) {
	used, err := d.links.Routes(bridge)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, n := range d.networks {
		if n.Bridge == bridge {
			return nil, fmt.Errorf("bridge %s is that of network %s: %w", bridge, id, errdefs.ErrConflict)
		}
		used = append(used, n.subnet().Prefix)
	}
	return used, nil
}

// complete checks the subnet and picks its gateway.
func complete(n *netState, used []netip.Prefix) error {
	if len(n.Have.Subnets) != 1 {
		return fmt.Errorf("%d subnets given, the bridge driver takes one IPv4 subnet: %w", len(n.Have.Subnets), errdefs.ErrInvalidArgument)
	}
	s := &n.Have.Subnets[0]
	if !s.Prefix.IsValid() || !s.Prefix.Addr().Is4() || s.Prefix.Bits() > 30 {
		return fmt.Errorf("subnet %s: want an IPv4 prefix of at most 30 bits such as 10.5.0.0/24: %w", s.Prefix, errdefs.ErrInvalidArgument)
	}
	if s.Prefix != s.Prefix.Masked() {
		return fmt.Errorf("subnet %s: has bits beyond its length, write %s: %w", s.Prefix, s.Prefix.Masked(), errdefs.ErrInvalidArgument)
	}
	if o, taken := ipam.Overlap(s.Prefix, used); taken {
		return fmt.Errorf("subnet %s overlaps with %s, which another network or a route of the host uses: %w", s.Prefix, o, errdefs.ErrConflict)
	}
	if s.Range.IsValid() && (s.Range.Bits() < s.Prefix.Bits() || !s.Prefix.Contains(s.Range.Addr())) {
		return fmt.Errorf("range %s is not within subnet %s: %w", s.Range, s.Prefix, errdefs.ErrInvalidArgument)
	}
	return completeAddrs(n.ipam(), s)
}

func completeAddrs(sub ipam.Subnet, s *network.Subnet) error {
	for name, a := range s.Reserved {
		if !s.Prefix.Contains(a) {
			return fmt.Errorf("reserved address %s (%s) is not within subnet %s: %w", a, name, s.Prefix, errdefs.ErrInvalidArgument)
		}
	}
	if s.Gateway.IsValid() {
		if !sub.Usable(s.Gateway) {
			return fmt.Errorf("gateway %s is not a host address of subnet %s: %w", s.Gateway, s.Prefix, errdefs.ErrInvalidArgument)
		}
		return nil
	}
	sub.Range = netip.Prefix{}
	gw, err := sub.Next(netip.Addr{}, func(a netip.Addr) bool { return reserved(s, a) })
	s.Gateway = gw
	return err
}

func reserved(s *network.Subnet, a netip.Addr) bool {
	for r := range maps.Values(s.Reserved) {
		if r == a {
			return true
		}
	}
	return false
}

// RemoveNetwork removes a network without endpoints.
func (d *Driver) RemoveNetwork(ctx context.Context, id network.NetworkID) error {
	if err := d.configured(); err != nil {
		return err
	}
	d.networking.Lock()
	defer d.networking.Unlock()
	n, err := d.network(id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if busy := d.busy(id); busy != "" {
		return fmt.Errorf("network %s: remove: endpoint %s is attached, detach it first: %w", id, busy, errdefs.ErrFailedPrecondition)
	}
	if err := d.unmake(ctx, n); err != nil {
		return fmt.Errorf("network %s: remove: %w", id, err)
	}
	return nil
}

// busy returns an endpoint of the network that is not leaving.
func (d *Driver) busy(id network.NetworkID) network.EndpointID {
	d.mu.Lock()
	defer d.mu.Unlock()
	for eid, e := range d.endpoints {
		if e.Want.Network == id && !e.Leaving {
			return eid
		}
	}
	return ""
}

// unmake removes rules, bridge and record, the record last so that a killed
// process begins again.
func (d *Driver) unmake(ctx context.Context, n *netState) error {
	id := n.Have.ID
	err := errors.Join(d.rules.DropNetwork(ctx, id), d.dropBridge(n))
	if err != nil {
		return err
	}
	if err := errors.Join(d.curDir.Delete(string(id)), d.netDir.Delete(string(id))); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.networks, id)
	delete(d.cursors, id)
	return nil
}

// dropBridge deletes the bridge if it is ours.
func (d *Driver) dropBridge(n *netState) error {
	owned, err := d.links.Owned()
	if err != nil || owned[n.Bridge] != networkTag+string(n.Have.ID) {
		return err
	}
	return d.links.Delete(n.Bridge)
}

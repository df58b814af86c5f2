package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/api/networks"
	"github.com/strakehq/strake/core/filter"
	sdk "github.com/strakehq/strake/sdk/network"
)

var _ networks.Backend = (*Manager)(nil)

// Create makes a user-defined network.
func (m *Manager) Create(ctx context.Context, r network.CreateRequest) (network.CreateResponse, error) {
	m.building.Lock()
	defer m.building.Unlock()
	rec, err := m.design(r)
	if err != nil {
		return network.CreateResponse{}, err
	}
	d, err := m.drivers.Network(rec.DriverKey)
	if err != nil {
		return network.CreateResponse{}, err
	}
	info, err := d.Info(ctx)
	if err != nil {
		return network.CreateResponse{}, err
	}
	rec.Driver = info.Name
	if rec.Made.IPv6 && !slices.Contains(info.Capabilities, sdk.CapIPv6) {
		return network.CreateResponse{}, fmt.Errorf("network %s: the network driver %s has no IPv6 (capability %s), leave out EnableIPv6: %w", r.Name, info.Name, sdk.CapIPv6, errdefs.ErrInvalidArgument)
	}
	if err := m.put(rec); err != nil {
		return network.CreateResponse{}, err
	}
	if rec, err = m.ensure(ctx, rec); err != nil {
		undo := context.WithoutCancel(ctx)
		return network.CreateResponse{}, errors.Join(fmt.Errorf("network %s: %w", r.Name, err), d.RemoveNetwork(undo, rec.Made.ID), m.drop(rec))
	}
	m.publish(events.ActionCreate, rec, "")
	return network.CreateResponse{ID: rec.ID}, nil
}

// design checks a request and turns it into a record.
func (m *Manager) design(r network.CreateRequest) (record, error) {
	if err := checkCreate(r); err != nil {
		return record{}, err
	}
	if predefined(r.Name) {
		return record{}, denied("operation is not permitted on predefined %s network", r.Name)
	}
	for _, have := range m.all() {
		if have.Name == r.Name {
			return record{}, fmt.Errorf("network with name %s already exists: %w", r.Name, errdefs.ErrConflict)
		}
	}
	rec := record{
		ID: newID(), Name: r.Name, Created: time.Now().UTC(), DriverKey: m.driverKey(r.Driver), Driver: r.Driver,
		Internal: r.Internal, Attachable: r.Attachable, Labels: r.Labels, Options: r.Options,
	}
	rec.Made = sdk.Network{
		ID: sdk.NetworkID(rec.ID), Name: r.Name, Internal: r.Internal, Options: r.Options,
		IPv6: r.EnableIPv6 != nil && *r.EnableIPv6,
	}
	if r.IPAM != nil {
		for _, c := range r.IPAM.Config {
			if !c.Subnet.IsValid() {
				return record{}, fmt.Errorf("network %s: IPAM config without subnet, a gateway or range needs one: %w", r.Name, errdefs.ErrInvalidArgument)
			}
			rec.UserSubnet = true
			rec.Made.Subnets = append(rec.Made.Subnets, sdk.Subnet{Prefix: c.Subnet, Gateway: c.Gateway, Range: c.IPRange, Reserved: c.AuxAddress})
		}
	}
	return rec, nil
}

// driverKey is how records name a driver: one driver has one name, or its
// Collect would be called for each with a part of its networks.
func (m *Manager) driverKey(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == m.defaultDriver {
		return ""
	}
	return name
}

func checkCreate(r network.CreateRequest) error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
	}
	switch {
	case !validName(r.Name):
		return invalid("invalid network name: %q: want letters, digits, '_', '.' and '-', first a letter or digit", r.Name)
	case r.Driver == hostDriver || r.Driver == nullDriver:
		return denied("only one instance of %q network is allowed", r.Driver)
	case r.Scope != "" && r.Scope != "local":
		return invalid("network %s: scope %q: this node is not part of a swarm, leave it out", r.Name, r.Scope)
	case r.Ingress || r.ConfigOnly || r.ConfigFrom != nil && r.ConfigFrom.Network != "":
		return invalid("network %s: ingress and config networks need a swarm, and this node is not part of one", r.Name)
	case r.EnableIPv4 != nil && !*r.EnableIPv4:
		return invalid("network %s: networks without IPv4 are not supported, leave out EnableIPv4", r.Name)
	case r.IPAM != nil && r.IPAM.Driver != "" && r.IPAM.Driver != "default":
		return invalid("network %s: IPAM driver %q: only default is known", r.Name, r.IPAM.Driver)
	case r.IPAM != nil && len(r.IPAM.Options) > 0:
		return invalid("network %s: the default IPAM driver takes no options", r.Name)
	}
	return nil
}

// denied is what Docker answers with 403. Its text is the whole message.
func denied(format string, args ...any) error {
	return errdefs.ErrPermissionDenied.WithMessage(fmt.Sprintf(format, args...))
}

func validName(s string) bool {
	for i, c := range s {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("_.-", c)) {
			return false
		}
	}
	return s != ""
}

// Remove removes a user-defined network that no container has joined.
func (m *Manager) Remove(ctx context.Context, ref string) error {
	m.building.Lock()
	defer m.building.Unlock()
	r, err := m.find(ref)
	if err != nil {
		return err
	}
	return m.remove(ctx, r)
}

func (m *Manager) remove(ctx context.Context, r record) error {
	if r.predefined() {
		return denied("%s is a pre-defined network and cannot be removed", r.Name)
	}
	if users := m.users(r); len(users) > 0 {
		var names []string
		for _, u := range users {
			names = append(names, u.Name)
		}
		return denied("error while removing network: network %s has active endpoints (%s), disconnect or stop these containers first", r.Name, strings.Join(names, ", "))
	}
	d, err := m.drivers.Network(r.DriverKey)
	if err == nil {
		err = d.RemoveNetwork(ctx, r.Made.ID)
	}
	if err != nil {
		return fmt.Errorf("network %s: remove: %w", r.Name, err)
	}
	if err := m.drop(r); err != nil {
		return err
	}
	m.publish(events.ActionDestroy, r, "")
	return nil
}

// users are the containers that have joined a network.
func (m *Manager) users(r record) []*attachment {
	var out []*attachment
	for _, a := range m.allAttachments() {
		if a.endpoint(r) != nil {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *attachment) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (a *attachment) endpoint(r record) *endpoint {
	for i, e := range a.Endpoints {
		if string(e.Request.Network) == r.ID {
			return &a.Endpoints[i]
		}
	}
	return nil
}

// Prune removes user-defined networks that nobody uses.
func (m *Manager) Prune(ctx context.Context, f filter.Args) (network.PruneReport, error) {
	m.building.Lock()
	defer m.building.Unlock()
	report := network.PruneReport{NetworksDeleted: []string{}}
	before, err := until(f)
	if err != nil {
		return report, err
	}
	for _, r := range m.all() {
		if r.predefined() || len(m.users(r)) > 0 || !labelled(f, r) || !before.IsZero() && r.Created.After(before) {
			continue
		}
		if err := m.remove(ctx, r); err != nil {
			m.log.Warn("network cannot be pruned", "network", r.Name, "err", err)
			continue
		}
		report.NetworksDeleted = append(report.NetworksDeleted, r.Name)
	}
	return report, nil
}

// List returns networks without their containers.
func (m *Manager) List(_ context.Context, f filter.Args) ([]network.Summary, error) {
	if err := checkFilters(f); err != nil {
		return nil, err
	}
	out := []network.Summary{}
	for _, r := range m.all() {
		if matches(f, r, func() bool { return len(m.users(r)) > 0 }) {
			out = append(out, network.Summary{Network: r.show()})
		}
	}
	return out, nil
}

// Inspect describes a network and the containers on it.
func (m *Manager) Inspect(_ context.Context, ref string, _ bool) (network.Inspect, error) {
	r, err := m.find(ref)
	if err != nil {
		return network.Inspect{}, err
	}
	out := network.Inspect{Network: r.show(), Containers: map[string]network.EndpointResource{}}
	for _, a := range m.users(r) {
		e := a.endpoint(r)
		res := network.EndpointResource{Name: a.Name, EndpointID: string(e.Request.Endpoint), IPv4Address: e.ip()}
		if s := e.show(); s != nil {
			res.MacAddress = s.MacAddress
		}
		out.Containers[a.ID] = res
	}
	return out, nil
}

// show is the network as the API shows it.
func (r record) show() network.Network {
	n := network.Network{
		Name: r.Name, ID: r.ID, Created: r.Created, Scope: "local", Driver: r.Driver, EnableIPv4: true,
		EnableIPv6: r.Made.IPv6, IPAM: network.IPAM{Driver: "default", Options: map[string]string{}, Config: []network.IPAMConfig{}},
		Internal: r.Internal, Attachable: r.Attachable, Options: r.Options, Labels: r.Labels,
	}
	if n.Options == nil {
		n.Options = map[string]string{}
	}
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	for _, s := range r.Made.Subnets {
		n.IPAM.Config = append(n.IPAM.Config, network.IPAMConfig{Subnet: s.Prefix, IPRange: s.Range, Gateway: s.Gateway, AuxAddress: auxiliary(s.Reserved)})
	}
	return n
}

func auxiliary(m map[string]netip.Addr) map[string]netip.Addr {
	if len(m) == 0 {
		return nil
	}
	return m
}

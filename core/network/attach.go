package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/container"
	sdk "github.com/strakehq/strake/sdk/network"
	"github.com/strakehq/strake/sdk/trace"
)

// Attach makes the container's namespace and joins its networks, all or
// nothing.
func (m *Manager) Attach(ctx context.Context, r container.NetworkRequest) (container.NetworkState, error) {
	if a, ok := m.attachment(r.ID); ok {
		if a.Done {
			return a.State, nil
		}
		if err := m.Detach(ctx, r.ID); err != nil {
			return container.NetworkState{}, err
		}
	}
	a, err := m.draft(r)
	if err != nil {
		return container.NetworkState{}, err
	}
	if err := m.note(a); err != nil {
		return container.NetworkState{}, err
	}
	if err := m.realize(ctx, &a, r); err != nil {
		undo := m.Detach(context.WithoutCancel(ctx), r.ID)
		return container.NetworkState{}, errors.Join(err, undo)
	}
	for _, e := range a.Endpoints {
		m.publishByName(events.ActionConnect, e.Network, r.ID)
	}
	return a.State, nil
}

// Namespace makes the container's namespace ahead of Attach. What is left of an
// attachment that was not completed goes first, with its namespace.
func (m *Manager) Namespace(ctx context.Context, r container.NetworkRequest) (string, error) {
	if a, ok := m.attachment(r.ID); ok && !a.Done {
		if err := m.Detach(ctx, r.ID); err != nil {
			return "", err
		}
	}
	if r.Host.NetworkMode.IsHost() {
		return "", nil
	}
	return m.pins.path(r.ID), m.makeNetNS(ctx, r)
}

// draft is the attachment as it is to be.
func (m *Manager) draft(r container.NetworkRequest) (attachment, error) {
	a := attachment{ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), Boot: m.boot}
	if r.Host.NetworkMode.IsContainer() {
		return a, fmt.Errorf("container %s: its namespace is that of %s, nothing is to be attached: %w", r.ID, r.Host.NetworkMode.ConnectedContainer(), errdefs.ErrInvalidArgument)
	}
	joins, err := m.joins(r.Host, r.Endpoints)
	if err != nil {
		return a, err
	}
	ports, err := wantedPorts(r.Config, r.Host)
	if err != nil {
		return a, err
	}
	if !r.Host.NetworkMode.IsHost() {
		a.NetNS = m.pins.path(r.ID)
	}
	for _, j := range joins {
		a.Endpoints = append(a.Endpoints, draftEndpoint(a, r, j, ports))
	}
	return a, m.resolve(&a.State, r.Host)
}

func draftEndpoint(a attachment, r container.NetworkRequest, j join, ports []sdk.Port) endpoint {
	e := endpoint{
		Network: j.record.Name, DriverKey: j.record.DriverKey, Driver: j.record.Driver, Settings: j.settings,
		Request: sdk.AttachRequest{
			Endpoint: sdk.EndpointID(newID()), Network: sdk.NetworkID(j.record.ID), Container: r.ID,
			NetNS: a.NetNS, IfName: j.ifName, DefaultRoute: j.gateway, Hostname: r.Hostname,
		},
	}
	if j.gateway {
		e.Request.Ports = ports
	}
	if c := j.settings.IPAMConfig; c != nil {
		e.Request.IPv4, e.Request.IPv6 = c.IPv4Address, c.IPv6Address
	}
	if len(j.settings.MacAddress) > 0 {
		e.Request.MAC = j.settings.MacAddress.String()
	}
	if !j.record.predefined() {
		e.Request.Names = names(a.Name, r, j.settings.Aliases)
	}
	return e
}

// names are those under which others on a user-defined network find the
// container, in Docker's order.
func names(name string, r container.NetworkRequest, aliases []string) []string {
	var out []string
	for _, n := range slices.Concat([]string{name}, aliases, []string{r.ID[:min(12, len(r.ID))], r.Hostname}) {
		if n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// realize makes what the draft says and completes its state.
func (m *Manager) realize(ctx context.Context, a *attachment, r container.NetworkRequest) error {
	if a.NetNS != "" {
		if err := m.makeNetNS(ctx, r); err != nil {
			return err
		}
	}
	for i := range a.Endpoints {
		if err := m.join(ctx, &a.Endpoints[i]); err != nil {
			return err
		}
	}
	a.refresh(r)
	a.Done = true
	return m.note(*a)
}

func (m *Manager) makeNetNS(ctx context.Context, r container.NetworkRequest) (err error) {
	_, end := trace.Start(ctx, "make network namespace")
	defer func() { end(err) }()
	return m.pins.make(r.ID, r.IDs)
}

// join has the driver attach one endpoint. Builtin networks have none.
func (m *Manager) join(ctx context.Context, e *endpoint) (err error) {
	if e.builtin() {
		return nil
	}
	ctx, end := trace.Start(ctx, "join network", "network", e.Network)
	defer func() { end(err) }()
	d, err := m.drivers.Network(e.DriverKey)
	if err != nil {
		return fmt.Errorf("network %s: %w", e.Network, err)
	}
	e.Made, err = d.Attach(ctx, e.Request)
	if errdefs.IsNotFound(err) {
		// The driver may have lost the network; then it is made anew.
		if ensured := m.ensureByName(ctx, e.Network); ensured == nil {
			e.Made, err = d.Attach(ctx, e.Request)
		}
	}
	if err == nil {
		err = m.own(e)
	}
	if err != nil {
		e.Made = sdk.Attachment{}
		return fmt.Errorf("failed to set up container networking: network %s: %w", e.Network, err)
	}
	return nil
}

// own refuses a handle that another endpoint of the driver has already: handed
// back, it would have the driver take one for the other.
func (m *Manager) own(e *endpoint) error {
	if len(e.Made.Handle.State) == 0 {
		return nil
	}
	for _, a := range m.allAttachments() {
		for i := range a.Endpoints {
			x := &a.Endpoints[i]
			if x.Request.Endpoint != e.Request.Endpoint && x.DriverKey == e.DriverKey && bytes.Equal(x.Made.Handle.State, e.Made.Handle.State) {
				return fmt.Errorf("network driver %q: Attach: wrong answer: the handle is that of container %s: %w", e.Driver, a.Name, errdefs.ErrInternal)
			}
		}
	}
	return nil
}

func (m *Manager) ensureByName(ctx context.Context, name string) error {
	r, err := m.find(name)
	if err != nil {
		return err
	}
	_, err = m.ensure(ctx, r)
	return err
}

func (e *endpoint) builtin() bool { return e.Driver == hostDriver || e.Driver == nullDriver }

// ip is the endpoint's IPv4 address with its subnet's length; zero: none.
func (e *endpoint) ip() netip.Prefix {
	p, _ := e.ipAndGateway()
	return p
}

func (e *endpoint) ipAndGateway() (netip.Prefix, netip.Addr) {
	if e.Made.Result == nil || len(e.Made.Result.IPs) == 0 {
		return netip.Prefix{}, netip.Addr{}
	}
	c := e.Made.Result.IPs[0]
	a, ok := netip.AddrFromSlice(c.Address.IP)
	if !ok {
		return netip.Prefix{}, netip.Addr{}
	}
	ones, _ := c.Address.Mask.Size()
	gw, _ := netip.AddrFromSlice(c.Gateway)
	return netip.PrefixFrom(a.Unmap(), ones), gw.Unmap()
}

// show is the endpoint as inspect shows it.
func (e *endpoint) show() *network.EndpointSettings {
	s := e.Settings.Copy()
	s.NetworkID, s.EndpointID = string(e.Request.Network), string(e.Request.Endpoint)
	s.DNSNames = e.Request.Names
	p, gw := e.ipAndGateway()
	if !p.IsValid() {
		return s
	}
	s.IPAddress, s.IPPrefixLen, s.Gateway = p.Addr(), p.Bits(), gw
	if err := s.MacAddress.UnmarshalText([]byte(e.Made.MAC)); err != nil {
		s.MacAddress = nil // a driver's word that is no address is not shown
	}
	return s
}

// Detach leaves all networks and removes the namespace. What cannot be undone
// stays on record, and Detach may be called again.
func (m *Manager) Detach(ctx context.Context, id string) error {
	a, ok := m.attachment(id)
	if !ok {
		return m.pins.remove(id)
	}
	defer m.change(a.Endpoints...)()
	var errs []error
	for _, e := range a.Endpoints {
		errs = append(errs, m.leave(ctx, &e))
	}
	if a.NetNS != "" {
		errs = append(errs, m.pins.remove(id))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("container %s: leave networks: %w", id, err)
	}
	if err := m.forget(id); err != nil {
		return err
	}
	for _, e := range a.Endpoints {
		if a.Done {
			m.publishByName(events.ActionDisconnect, e.Network, id)
		}
	}
	return nil
}

func (m *Manager) leave(ctx context.Context, e *endpoint) error {
	if e.builtin() {
		return nil
	}
	d, err := m.drivers.Network(e.DriverKey)
	if err != nil {
		return err
	}
	return d.Detach(ctx, e.Request.Endpoint)
}

// Recover repairs the attachment of a container that runs on. The record tells
// all; the drivers put back what is missing.
func (m *Manager) Recover(ctx context.Context, id string) (container.NetworkState, error) {
	a, ok := m.attachment(id)
	if !ok || !a.Done {
		return container.NetworkState{}, fmt.Errorf("container %s: networks: no record of an attachment: %w", id, errdefs.ErrNotFound)
	}
	if a.NetNS != "" && !isNetNS(a.NetNS) {
		return container.NetworkState{}, fmt.Errorf("container %s: network namespace %s: gone: %w", id, a.NetNS, errdefs.ErrNotFound)
	}
	for _, e := range a.Endpoints {
		if e.builtin() {
			continue
		}
		if err := m.recoverEndpoint(ctx, id, e); err != nil {
			return a.State, err
		}
	}
	return a.State, nil
}

func (m *Manager) publishByName(action events.Action, name, container string) {
	if r, err := m.find(name); err == nil {
		m.publish(action, r, container)
	}
}

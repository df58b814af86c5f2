package network

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/container"
	sdk "github.com/strakehq/strake/sdk/network"
)

// Join has a running container join one more network. r describes the
// container as for Attach; its Endpoints do not count. The state returned is
// the container's new one.
func (m *Manager) Join(ctx context.Context, r container.NetworkRequest, ref string, s *network.EndpointSettings) (container.NetworkState, error) {
	rec, a, err := m.meet(r, ref)
	if err != nil {
		return container.NetworkState{}, err
	}
	if a.endpoint(rec) != nil {
		return a.State, denied("endpoint with name %s already exists in network %s", a.Name, rec.Name)
	}
	if s == nil {
		s = &network.EndpointSettings{}
	}
	if err := checkSettings(rec, s); err != nil {
		return a.State, fmt.Errorf("invalid config for network %s: invalid endpoint settings:\n%w", rec.Name, err)
	}
	ports, err := wantedPorts(r.Config, r.Host)
	if err != nil {
		return a.State, err
	}
	j := join{record: rec, settings: s, ifName: a.freeInterface(s), gateway: !rec.Internal && a.gateway() == nil}
	e := draftEndpoint(a, r, j, ports)
	defer m.change(e)()
	a.Endpoints = append(slices.Clone(a.Endpoints), e)
	if err := m.note(a); err != nil { // the endpoint is on record before it is made
		return a.State, err
	}
	last := &a.Endpoints[len(a.Endpoints)-1]
	if err := m.join(ctx, last); err != nil {
		undo := context.WithoutCancel(ctx)
		err = errors.Join(err, m.leave(undo, last))
		a.Endpoints = a.Endpoints[:len(a.Endpoints)-1]
		return a.State, errors.Join(err, m.note(a))
	}
	a.refresh(r)
	if err := m.note(a); err != nil {
		return a.State, err
	}
	m.publish(events.ActionConnect, rec, r.ID)
	return a.State, nil
}

// Leave has a running container leave a network. When it was the one with the
// default route, the next takes over, and the published ports with it.
func (m *Manager) Leave(ctx context.Context, r container.NetworkRequest, ref string) (container.NetworkState, error) {
	rec, a, err := m.meet(r, ref)
	if err != nil {
		return container.NetworkState{}, err
	}
	e := a.endpoint(rec)
	if e == nil {
		return a.State, denied("container %s is not connected to network %s", a.Name, rec.Name)
	}
	touched, heir := []endpoint{*e}, -1
	rest := slices.DeleteFunc(slices.Clone(a.Endpoints), func(x endpoint) bool { return x.Request.Endpoint == e.Request.Endpoint })
	if e.Request.DefaultRoute {
		if heir = m.heir(rest); heir >= 0 {
			touched = append(touched, rest[heir])
		}
	}
	defer m.change(touched...)()
	if err := m.leave(ctx, e); err != nil {
		return a.State, fmt.Errorf("container %s: leave network %s: %w", a.Name, rec.Name, err)
	}
	a.Endpoints = rest
	if heir >= 0 {
		err = m.promote(ctx, &a.Endpoints[heir], r)
	}
	a.refresh(r)
	if err := errors.Join(err, m.note(a)); err != nil {
		return a.State, err
	}
	m.publish(events.ActionDisconnect, rec, r.ID)
	return a.State, nil
}

// meet finds a network and a copy of the attachment of a running container.
func (m *Manager) meet(r container.NetworkRequest, ref string) (record, attachment, error) {
	rec, err := m.find(ref)
	if err != nil {
		return rec, attachment{}, err
	}
	if rec.builtin() {
		return rec, attachment{}, denied("a container joins or leaves network %s only when it is created", rec.Name)
	}
	a, ok := m.attachment(r.ID)
	switch {
	case !ok || !a.Done:
		return rec, attachment{}, fmt.Errorf("container %s: not attached to any network, is it running?: %w", r.ID, errdefs.ErrFailedPrecondition)
	case a.NetNS == "":
		return rec, attachment{}, fmt.Errorf("container %s: container sharing network namespace with another container or host cannot be connected to any other network: %w", a.Name, errdefs.ErrInvalidArgument)
	}
	copied := *a
	copied.Endpoints = slices.DeleteFunc(slices.Clone(a.Endpoints), func(e endpoint) bool { return e.builtin() })
	return rec, copied, nil
}

func (a *attachment) gateway() *endpoint {
	for i, e := range a.Endpoints {
		if e.Request.DefaultRoute {
			return &a.Endpoints[i]
		}
	}
	return nil
}

func (a *attachment) freeInterface(s *network.EndpointSettings) string {
	if name := s.DriverOpts[optIfName]; name != "" {
		return name
	}
	used := map[string]bool{}
	for _, e := range a.Endpoints {
		used[e.Request.IfName] = true
	}
	return freeIfName(used, 0)
}

// heir finds the best of the networks that are left; -1: none.
func (m *Manager) heir(endpoints []endpoint) int {
	best, bestJoin := -1, join{}
	for i, e := range endpoints {
		rec, err := m.find(e.Network)
		j := join{record: rec, settings: e.Settings}
		if err != nil || rec.Internal || best >= 0 && !before(j, bestJoin) {
			continue
		}
		best, bestJoin = i, j
	}
	return best
}

// promote gives an endpoint default route and ports: its network is joined
// anew, with the addresses that it has.
func (m *Manager) promote(ctx context.Context, e *endpoint, r container.NetworkRequest) error {
	ports, err := wantedPorts(r.Config, r.Host)
	if err != nil {
		return err
	}
	if err := m.leave(ctx, e); err != nil {
		return err
	}
	q := &e.Request
	q.DefaultRoute, q.Ports, q.IPv4, q.MAC = true, ports, e.ip().Addr(), e.Made.MAC
	return m.join(ctx, e)
}

// refresh derives the state from the endpoints.
func (a *attachment) refresh(r container.NetworkRequest) {
	s := a.State
	s.NetNS, s.Endpoints, s.Addresses = a.NetNS, map[string]*network.EndpointSettings{}, nil
	var made []sdk.Port
	for i := range a.Endpoints {
		e := &a.Endpoints[i]
		made = append(made, e.Made.Ports...)
		s.Endpoints[e.Network] = e.show()
		if ip := e.ip(); ip.IsValid() {
			s.Addresses = append(s.Addresses, ip.Addr().String())
		}
	}
	s.Ports = network.PortMap{}
	if !r.Host.NetworkMode.IsHost() {
		s.Ports = portMap(r.Config, r.Host, made)
	}
	a.State = s
}

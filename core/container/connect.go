package container

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/api/networks"
)

var _ networks.Connector = (*Manager)(nil)

// Connect implements networks.Connector. A running container joins the network
// at once, any other when it starts.
func (m *Manager) Connect(ctx context.Context, network string, q apinetwork.ConnectRequest) error {
	settings := q.EndpointConfig
	if settings == nil {
		settings = &apinetwork.EndpointSettings{}
	}
	return m.reconnect(ctx, q.Container, func(r record) (plan, error) {
		p := planOf(r)
		if p.host.NetworkMode.IsNone() {
			p.host.NetworkMode = container.NetworkMode(network)
			p.endpoints = map[string]*apinetwork.EndpointSettings{}
		}
		if _, ok := p.endpoints[network]; !ok {
			p.endpoints[network] = settings
		}
		return p, nil
	}, func(r record) (NetworkState, error) {
		return m.cfg.Networks.Join(ctx, m.networkRequest(r), network, settings)
	})
}

// Disconnect implements networks.Connector.
func (m *Manager) Disconnect(ctx context.Context, network string, q apinetwork.DisconnectRequest) error {
	return m.reconnect(ctx, q.Container, func(r record) (plan, error) {
		p := planOf(r)
		name, ok := r.joined(network)
		if !ok {
			return p, refuse(errdefs.ErrPermissionDenied, "container %s is not connected to network %s", short(r.ID), network)
		}
		delete(p.endpoints, name)
		if string(p.host.NetworkMode) == name || len(p.endpoints) == 0 {
			p.host.NetworkMode = "none"
			for _, other := range slices.Sorted(maps.Keys(p.endpoints)) {
				p.host.NetworkMode = container.NetworkMode(other)
				break
			}
		}
		return p, nil
	}, func(r record) (NetworkState, error) {
		return m.cfg.Networks.Leave(ctx, m.networkRequest(r), network)
	})
}

// joined finds a network of the container by name, or by the id that its
// present run knows.
func (r record) joined(network string) (name string, ok bool) {
	if _, ok := r.Endpoints[network]; ok {
		return network, true
	}
	for name, e := range r.Run.Network.Endpoints {
		if e != nil && e.NetworkID == network {
			return name, true
		}
	}
	return "", false
}

// plan is how a container is to be connected from its next start on.
type plan struct {
	host      container.HostConfig
	endpoints map[string]*apinetwork.EndpointSettings
}

func planOf(r record) plan {
	p := plan{host: *r.Host, endpoints: maps.Clone(r.Endpoints)}
	if p.endpoints == nil {
		p.endpoints = map[string]*apinetwork.EndpointSettings{}
	}
	return p
}

// reconnect changes a container's networks: what is asked for at its next
// start and, if it runs, what is so now.
func (m *Manager) reconnect(ctx context.Context, ref string, ask func(record) (plan, error), now func(record) (NetworkState, error)) error {
	u, done, err := m.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer done()
	r, err := m.allows(u, opUpdate)
	if err != nil {
		return err
	}
	if r.Host.NetworkMode.IsHost() || r.Host.NetworkMode.IsContainer() {
		return refuse(errdefs.ErrInvalidArgument, "container sharing network namespace with another container or host cannot be connected to any other network")
	}
	p, err := ask(r)
	if err != nil {
		return err
	}
	n := &apinetwork.NetworkingConfig{EndpointsConfig: p.endpoints}
	if err := m.cfg.Networks.Plan(ctx, &p.host, n); err != nil {
		return err
	}
	next := r
	next.Host, next.Endpoints = &p.host, n.EndpointsConfig
	if alive(r.Run.Status) {
		if next.Run.Network, err = now(r); err != nil {
			return err
		}
		if err := m.writeFiles(next, next.Run.Network); err != nil {
			return err
		}
	}
	if err := m.save(next); err != nil {
		return fmt.Errorf("container %s: record: %w", short(r.ID), err)
	}
	u.change(func(x *record) { x.Host, x.Endpoints, x.Run.Network = next.Host, next.Endpoints, next.Run.Network })
	return nil
}

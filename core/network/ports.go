package network

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	sdk "github.com/strakehq/strake/sdk/network"
)

// wantedPorts are the ports to publish, in a stable order: those bound, and
// with PublishAllPorts the exposed ones that are not.
func wantedPorts(c *container.Config, h *container.HostConfig) ([]sdk.Port, error) {
	var out []sdk.Port
	var errs []error
	add := func(p network.Port, b network.PortBinding) {
		port, err := wantedPort(p, b)
		out, errs = append(out, port), append(errs, err)
	}
	for _, p := range sortedPorts(h.PortBindings) {
		for _, b := range h.PortBindings[p] {
			add(p, b)
		}
	}
	if h.PublishAllPorts && c != nil {
		for _, p := range sortedPorts(c.ExposedPorts) {
			if len(h.PortBindings[p]) == 0 {
				add(p, network.PortBinding{})
			}
		}
	}
	return out, errors.Join(errs...)
}

func sortedPorts[V any](m map[network.Port]V) []network.Port {
	return slices.SortedFunc(maps.Keys(m), func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.Num(), b.Num()), cmp.Compare(a.Proto(), b.Proto()))
	})
}

func wantedPort(p network.Port, b network.PortBinding) (sdk.Port, error) {
	out := sdk.Port{Protocol: sdk.Protocol(p.Proto()), ContainerPort: p.Num(), HostIP: b.HostIP}
	if p.Num() == 0 {
		return out, fmt.Errorf("invalid port specification: %q: the container's port must be 1 to 65535: %w", p, errdefs.ErrInvalidArgument)
	}
	switch p.Proto() {
	case network.TCP, network.UDP, network.SCTP:
	default:
		return out, fmt.Errorf("invalid port specification: %q: the protocol must be tcp, udp or sctp: %w", p, errdefs.ErrInvalidArgument)
	}
	if b.HostPort == "" || b.HostPort == "0" {
		return out, nil
	}
	r, err := network.ParsePortRange(b.HostPort)
	if err != nil || r.Start() == 0 {
		return out, fmt.Errorf("invalid port specification: %q: host port of %s must be 1 to 65535 or a range such as 8000-8010: %w", b.HostPort, p, errdefs.ErrInvalidArgument)
	}
	out.HostPort = r.Start()
	if r.End() > r.Start() {
		out.HostPortEnd = r.End()
	}
	return out, nil
}

// portMap shows ports as Docker does: every exposed or bound one, those that
// are not published without bindings.
func portMap(c *container.Config, h *container.HostConfig, made []sdk.Port) network.PortMap {
	m := network.PortMap{}
	if c != nil {
		for p := range c.ExposedPorts {
			m[p] = nil
		}
	}
	for p := range h.PortBindings {
		m[p] = nil
	}
	for _, p := range made {
		key, ok := network.PortFrom(p.ContainerPort, network.IPProtocol(p.Protocol))
		if !ok {
			continue
		}
		m[key] = append(m[key], network.PortBinding{HostIP: p.HostIP, HostPort: strconv.Itoa(int(p.HostPort))})
	}
	return m
}

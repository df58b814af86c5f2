package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// optIfName is the one endpoint option that is understood.
const optIfName = "com.docker.network.endpoint.ifname"

// Plan checks a container's network settings. It sets the default mode, makes
// n's keys names and adds the mode's own network to n.
func (m *Manager) Plan(_ context.Context, h *apicontainer.HostConfig, n *network.NetworkingConfig) error {
	if h.NetworkMode == "" || h.NetworkMode.IsDefault() {
		h.NetworkMode = bridgeName
	}
	if h.NetworkMode.IsContainer() {
		return planShared(h, n)
	}
	joins, err := m.joins(h, n.EndpointsConfig)
	if err != nil {
		return err
	}
	if n.EndpointsConfig == nil {
		n.EndpointsConfig = map[string]*network.EndpointSettings{}
	}
	clear(n.EndpointsConfig)
	for _, j := range joins {
		n.EndpointsConfig[j.record.Name] = j.settings
	}
	_, err = wantedPorts(nil, h)
	return err
}

// planShared checks what makes no sense in another container's network.
func planShared(h *apicontainer.HostConfig, n *network.NetworkingConfig) error {
	conflict := func(what string) error {
		return fmt.Errorf("conflicting options: %s: %w", what, errdefs.ErrInvalidArgument)
	}
	switch {
	case len(n.EndpointsConfig) > 0:
		return conflict("networks and the container type network mode, name one of the two")
	case len(h.PortBindings) > 0 || h.PublishAllPorts:
		return conflict("port publishing and the container type network mode")
	case len(h.DNS)+len(h.DNSSearch)+len(h.DNSOptions) > 0:
		return conflict("dns and the network mode")
	case len(h.ExtraHosts) > 0:
		return conflict("custom host-to-IP mapping and the network mode")
	case len(h.Links) > 0:
		return conflict("container type network can't be used with links. This would result in undefined behavior")
	}
	return nil
}

// join is one network to join.
type join struct {
	record   record
	settings *network.EndpointSettings
	ifName   string
	// gateway: the default route and published ports go through it.
	gateway bool
}

// joins resolves and checks the networks to join: the mode's own first, then
// by name, which is also the order of the interfaces.
func (m *Manager) joins(h *apicontainer.HostConfig, endpoints map[string]*network.EndpointSettings) ([]join, error) {
	mode := string(h.NetworkMode)
	if h.NetworkMode == "" || h.NetworkMode.IsDefault() {
		mode = bridgeName
	}
	own, err := m.find(mode)
	if err != nil {
		return nil, err
	}
	all := map[string]join{own.Name: {record: own, settings: &network.EndpointSettings{}}}
	for _, ref := range slices.Sorted(maps.Keys(endpoints)) {
		r, err := m.find(ref)
		if err != nil {
			return nil, err
		}
		if have, ok := all[r.Name]; ok && (r.Name != own.Name || have.settings != nil && !isEmpty(have.settings)) {
			return nil, fmt.Errorf("network %s is named twice: %w", r.Name, errdefs.ErrInvalidArgument)
		}
		s := endpoints[ref].Copy()
		if s == nil {
			s = &network.EndpointSettings{}
		}
		if err := checkSettings(r, s); err != nil {
			return nil, fmt.Errorf("invalid config for network %s: invalid endpoint settings:\n%w", r.Name, err)
		}
		all[r.Name] = join{record: r, settings: s}
	}
	if own.builtin() && len(all) > 1 {
		return nil, fmt.Errorf("container cannot be connected to multiple networks with one of the networks in %s mode: %w", own.Name, errdefs.ErrInvalidArgument)
	}
	return arrange(own.Name, all)
}

func isEmpty(s *network.EndpointSettings) bool {
	return s.IPAMConfig == nil && len(s.Aliases)+len(s.DriverOpts)+len(s.Links)+len(s.MacAddress) == 0
}

// arrange orders the joins, names interfaces and picks the gateway: the one of
// highest priority, then first by name, that has a way out (Docker's rule).
func arrange(own string, all map[string]join) ([]join, error) {
	var out []join
	for name, j := range all {
		if j.record.builtin() && name != own {
			return nil, fmt.Errorf("container sharing network namespace with another container or host cannot be connected to any other network: network %s: %w", name, errdefs.ErrInvalidArgument)
		}
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b join) int {
		if (a.record.Name == own) != (b.record.Name == own) {
			return map[bool]int{true: -1, false: 1}[a.record.Name == own]
		}
		return cmp.Compare(a.record.Name, b.record.Name)
	})
	best := -1
	used := map[string]bool{}
	for i, j := range out {
		if out[i].ifName = j.settings.DriverOpts[optIfName]; out[i].ifName != "" {
			used[out[i].ifName] = true
		}
		if j.record.Internal || j.record.builtin() {
			continue
		}
		if best < 0 || before(j, out[best]) {
			best = i
		}
	}
	if best >= 0 {
		out[best].gateway = true
	}
	nameInterfaces(out, used)
	return out, nil
}

func before(a, b join) bool {
	if a.settings.GwPriority != b.settings.GwPriority {
		return a.settings.GwPriority > b.settings.GwPriority
	}
	return a.record.Name < b.record.Name
}

func nameInterfaces(js []join, used map[string]bool) {
	next := 0
	for i := range js {
		if js[i].ifName != "" {
			continue
		}
		name := freeIfName(used, next)
		js[i].ifName, used[name] = name, true
		next++
	}
}

func freeIfName(used map[string]bool, from int) string {
	for ; ; from++ {
		if name := "eth" + strconv.Itoa(from); !used[name] {
			return name
		}
	}
}

// checkSettings checks what a user asks of an endpoint, in Docker's words.
func checkSettings(r record, s *network.EndpointSettings) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...))
	}
	if len(s.Links) > 0 {
		bad("links are not supported, give the containers a user-defined network")
	}
	for k := range s.DriverOpts {
		if k != optIfName {
			bad("unknown driver option %s, known is %s", k, optIfName)
		}
	}
	if len(s.MacAddress) > 0 && (len(s.MacAddress) != 6 || s.MacAddress[0]&1 != 0) {
		bad("MAC address %s is not a unicast address of six bytes", net.HardwareAddr(s.MacAddress))
	}
	if r.predefined() && len(s.Aliases) > 0 {
		bad("network-scoped aliases are only supported for user-defined networks")
	}
	if c := s.IPAMConfig; c != nil {
		errs = append(errs, checkAddresses(r, c))
	}
	return errors.Join(errs...)
}

func checkAddresses(r record, c *network.EndpointIPAMConfig) error {
	var what string
	switch {
	case len(c.LinkLocalIPs) > 0:
		what = "link-local addresses are not supported"
	case c.IPv6Address.IsValid():
		what = fmt.Sprintf("IPv6 address %s: network %s has no IPv6", c.IPv6Address, r.Name)
	case !c.IPv4Address.IsValid():
		return nil
	case r.predefined():
		what = "user specified IP address is supported on user defined networks only"
	case !r.UserSubnet:
		what = "user specified IP address is supported only when connecting to networks with user configured subnets"
	case !r.contains(c):
		what = fmt.Sprintf("no configured subnet contains IP address %s", c.IPv4Address)
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", what, errdefs.ErrInvalidArgument)
}

func (r record) contains(c *network.EndpointIPAMConfig) bool {
	for _, s := range r.Made.Subnets {
		if s.Prefix.Contains(c.IPv4Address) {
			return true
		}
	}
	return false
}

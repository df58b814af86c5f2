package container

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/go-connections/nat"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/spf13/pflag"
)

// networkFlags say how a container is reached and what it reaches.
type networkFlags struct {
	publish, expose          opts.ListOpts
	publishAll               bool
	networks                 opts.NetworkOpt
	aliases, links           opts.ListOpts
	dns, dnsSearch, dnsOpts  opts.ListOpts
	extraHosts, linkLocalIPs opts.ListOpts
	ip4, ip6                 string
	mac                      string
}

func (n *networkFlags) register(f *pflag.FlagSet) {
	n.publish, n.expose, n.aliases = opts.NewListOpts(nil), opts.NewListOpts(nil), opts.NewListOpts(nil)
	n.links, n.linkLocalIPs = opts.NewListOpts(opts.ValidateLink), opts.NewListOpts(opts.ValidateIPAddress)
	n.dns, n.dnsSearch, n.dnsOpts = opts.NewListOpts(opts.ValidateIPAddress), opts.NewListOpts(opts.ValidateDNSSearch), opts.NewListOpts(nil)
	n.extraHosts = opts.NewListOpts(opts.ValidateExtraHost)
	f.VarP(&n.publish, "publish", "p", "Publish a container's port(s) to the host")
	f.BoolVarP(&n.publishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
	f.Var(&n.expose, "expose", "Expose a port or a range of ports")
	f.Var(&n.networks, "network", "Connect a container to a network")
	f.Var(&n.aliases, "network-alias", "Add network-scoped alias for the container")
	f.Var(&n.links, "link", "Add link to another container")
	f.Var(&n.linkLocalIPs, "link-local-ip", "Container IPv4/IPv6 link-local addresses")
	f.Var(&n.dns, "dns", "Set custom DNS servers")
	f.Var(&n.dnsSearch, "dns-search", "Set custom DNS search domains")
	f.Var(&n.dnsOpts, "dns-option", "Set DNS options")
	f.Var(&n.extraHosts, "add-host", "Add a custom host-to-IP mapping (host:ip)")
	f.StringVar(&n.ip4, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&n.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	f.StringVar(&n.mac, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	// The forms that Docker accepts beside those it documents.
	f.Var(&n.networks, "net", "Connect a container to a network")
	f.Var(&n.aliases, "net-alias", "Add network-scoped alias for the container")
	f.Var(&n.dnsOpts, "dns-opt", "Set DNS options")
	for _, name := range []string{"net", "net-alias", "dns-opt"} {
		f.Lookup(name).Hidden = true
	}
}

func (n *networkFlags) apply(_ *pflag.FlagSet, c *client.ContainerCreateOptions) error {
	if err := n.applyPorts(c); err != nil {
		return err
	}
	host := c.HostConfig
	host.NetworkMode = container.NetworkMode(n.networks.NetworkMode())
	host.DNSSearch, host.DNSOptions = n.dnsSearch.GetSlice(), n.dnsOpts.GetSlice()
	host.ExtraHosts, host.Links = n.extraHosts.GetSlice(), n.links.GetSlice()
	for _, s := range n.dns.GetSlice() {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("--dns: %w", err)
		}
		host.DNS = append(host.DNS, a)
	}
	return n.applyEndpoints(c.NetworkingConfig)
}

func (n *networkFlags) applyPorts(c *client.ContainerCreateOptions) error {
	c.HostConfig.PublishAllPorts = n.publishAll
	c.Config.ExposedPorts, c.HostConfig.PortBindings = network.PortSet{}, network.PortMap{}
	for _, s := range n.publish.GetSlice() {
		spec, err := shortForm(s)
		if err != nil {
			return err
		}
		mappings, err := nat.ParsePortSpec(spec)
		if err != nil {
			return fmt.Errorf("--publish %q: %w: want [[ip:]host-port:]container-port[/tcp|udp]", s, err)
		}
		for _, m := range mappings {
			if err := addBinding(c, m); err != nil {
				return fmt.Errorf("--publish %q: %w", s, err)
			}
		}
	}
	for _, s := range n.expose.GetSlice() {
		ports, err := network.ParsePortRange(s)
		if err != nil {
			return fmt.Errorf("--expose %q: %w", s, err)
		}
		for p := range ports.All() {
			c.Config.ExposedPorts[p] = struct{}{}
		}
	}
	return nil
}

func addBinding(c *client.ContainerCreateOptions, m nat.PortMapping) error {
	port, err := network.ParsePort(string(m.Port))
	if err != nil {
		return err
	}
	if port.Num() == 0 {
		return errors.New("the container's port must be 1 to 65535")
	}
	b := network.PortBinding{HostPort: m.Binding.HostPort}
	if m.Binding.HostIP != "" {
		if b.HostIP, err = netip.ParseAddr(m.Binding.HostIP); err != nil {
			return err
		}
	}
	c.Config.ExposedPorts[port] = struct{}{}
	c.HostConfig.PortBindings[port] = append(c.HostConfig.PortBindings[port], b)
	return nil
}

// shortForm turns published=8080,target=80,protocol=tcp into 8080:80/tcp and
// leaves anything else alone.
func shortForm(s string) (string, error) {
	if !strings.Contains(s, "=") {
		return s, nil
	}
	v := map[string]string{"protocol": "tcp"}
	for field := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(field, "=")
		if !ok || key == "" {
			return "", fmt.Errorf("--publish %q: field %q is not name=value", s, field)
		}
		v[key] = value
	}
	if v["target"] == "" {
		return "", fmt.Errorf("--publish %q: target is missing", s)
	}
	return fmt.Sprintf("%s:%s/%s", v["published"], v["target"], v["protocol"]), nil
}

// applyEndpoints fills in one endpoint per --network. The flags that are about
// one network (--ip, --network-alias, …) go to the first.
func (n *networkFlags) applyEndpoints(c *network.NetworkingConfig) error {
	wanted := n.networks.Value()
	if len(wanted) == 0 {
		wanted = []opts.NetworkAttachmentOpts{{Target: "default"}}
	}
	for i, w := range wanted {
		if i == 0 {
			if err := n.merge(&w); err != nil {
				return err
			}
		}
		if _, twice := c.EndpointsConfig[w.Target]; twice {
			return fmt.Errorf("--network %s: specified twice", w.Target)
		}
		e, err := endpoint(w)
		if err != nil {
			return err
		}
		c.EndpointsConfig[w.Target] = e
	}
	return nil
}

func (n *networkFlags) merge(w *opts.NetworkAttachmentOpts) (err error) {
	w.Aliases = append(w.Aliases, n.aliases.GetSlice()...)
	if container.NetworkMode(w.Target).IsUserDefined() {
		w.Links = append(w.Links, n.links.GetSlice()...)
	}
	if n.mac != "" {
		w.MacAddress = n.mac
	}
	if n.ip4 != "" {
		if w.IPv4Address, err = netip.ParseAddr(n.ip4); err != nil || !w.IPv4Address.Is4() {
			return fmt.Errorf("--ip %q: not an IPv4 address", n.ip4)
		}
	}
	if n.ip6 != "" {
		if w.IPv6Address, err = netip.ParseAddr(n.ip6); err != nil || !w.IPv6Address.Is6() {
			return fmt.Errorf("--ip6 %q: not an IPv6 address", n.ip6)
		}
	}
	for _, s := range n.linkLocalIPs.GetSlice() {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("--link-local-ip: %w", err)
		}
		w.LinkLocalIPs = append(w.LinkLocalIPs, a)
	}
	return nil
}

func endpoint(w opts.NetworkAttachmentOpts) (*network.EndpointSettings, error) {
	if !container.NetworkMode(w.Target).IsUserDefined() && len(w.Aliases) > 0 {
		return nil, errors.New("--network-alias: aliases need a user-defined network, name one with --network")
	}
	e := &network.EndpointSettings{Aliases: w.Aliases, Links: w.Links, DriverOpts: w.DriverOpts, GwPriority: w.GwPriority}
	if w.IPv4Address.IsValid() || w.IPv6Address.IsValid() || len(w.LinkLocalIPs) > 0 {
		e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: w.IPv4Address, IPv6Address: w.IPv6Address, LinkLocalIPs: w.LinkLocalIPs}
	}
	if w.MacAddress != "" {
		mac, err := net.ParseMAC(strings.TrimSpace(w.MacAddress))
		if err != nil {
			return nil, fmt.Errorf("--mac-address: %w", err)
		}
		e.MacAddress = network.HardwareAddr(mac)
	}
	return e, nil
}

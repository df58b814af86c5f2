package containers

import (
	"net/netip"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"

	"github.com/strakehq/strake/core/api/version"
)

// shortID is how many digits of an id are shown to people.
const shortID = 12

// legacyInspect is what clients before API 1.52 look for: the default bridge's
// address beside the networks, and the storage driver by its old name.
type legacyInspect struct {
	container.InspectResponse
	NetworkSettings *legacyNetworkSettings
}

type legacyNetworkSettings struct {
	container.NetworkSettings
	Bridge              string
	EndpointID          string
	Gateway             netip.Addr
	GlobalIPv6Address   netip.Addr
	GlobalIPv6PrefixLen int
	IPAddress           netip.Addr
	IPPrefixLen         int
	IPv6Gateway         netip.Addr
	MacAddress          network.HardwareAddr
}

// inspectFor gives an answer the form of a version.
func inspectFor(v version.Version, c container.InspectResponse) any {
	if v.Before(1, 45) {
		addAliases(&c)
	}
	if v.Before(1, 48) {
		c.ImageManifestDescriptor = nil
	}
	if !v.Before(1, 52) {
		return c
	}
	if c.GraphDriver == nil && c.Storage != nil && c.Storage.RootFS != nil && c.Storage.RootFS.Snapshot != nil {
		c.GraphDriver = &storage.DriverData{Name: c.Storage.RootFS.Snapshot.Name}
		c.Storage = nil
	}
	old := legacyInspect{InspectResponse: c}
	if n := c.NetworkSettings; n != nil {
		old.NetworkSettings = &legacyNetworkSettings{NetworkSettings: *n}
		old.NetworkSettings.bridge(n.Networks[network.NetworkBridge])
	}
	return old
}

func (n *legacyNetworkSettings) bridge(e *network.EndpointSettings) {
	if e == nil {
		return
	}
	n.EndpointID, n.MacAddress = e.EndpointID, e.MacAddress
	n.Gateway, n.IPAddress, n.IPPrefixLen = e.Gateway, e.IPAddress, e.IPPrefixLen
	n.IPv6Gateway, n.GlobalIPv6Address, n.GlobalIPv6PrefixLen = e.IPv6Gateway, e.GlobalIPv6Address, e.GlobalIPv6PrefixLen
}

// addAliases lists the container's own names among its aliases, as versions
// without DNSNames did. The endpoints are copied: the answer may be shared.
func addAliases(c *container.InspectResponse) {
	if c.NetworkSettings == nil {
		return
	}
	settings := *c.NetworkSettings
	settings.Networks = map[string]*network.EndpointSettings{}
	for name, e := range c.NetworkSettings.Networks {
		if e = e.Copy(); e != nil && container.NetworkMode(name).IsUserDefined() {
			e.Aliases = append(e.Aliases, c.ID[:min(len(c.ID), shortID)])
			if c.Config != nil {
				e.Aliases = append(e.Aliases, c.Config.Hostname)
			}
			slices.Sort(e.Aliases)
			e.Aliases = slices.Compact(e.Aliases)
		}
		settings.Networks[name] = e
	}
	c.NetworkSettings = &settings
}

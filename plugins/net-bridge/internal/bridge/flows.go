package bridge

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/network"
)

// forgetFlows makes the kernel forget UDP conversations with the endpoint's
// host ports and address: rules decide on the first packet of a conversation
// only, and a client that goes on sending would be stuck with what was true
// before.
func (d *Driver) forgetFlows(e *endpoint) error {
	var filters []netlink.CustomConntrackFilter
	for _, p := range e.Ports {
		if p.Protocol != network.UDP {
			continue
		}
		f := &netlink.ConntrackFilter{}
		if err := f.AddProtocol(unix.IPPROTO_UDP); err != nil {
			return fmt.Errorf("endpoint %s: forget flows: %w", e.Want.Endpoint, err)
		}
		if err := f.AddPort(netlink.ConntrackOrigDstPort, p.HostPort); err != nil {
			return fmt.Errorf("endpoint %s: forget flows: %w", e.Want.Endpoint, err)
		}
		filters = append(filters, f)
	}
	if len(filters) == 0 {
		return nil
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filters...); err != nil {
		return fmt.Errorf("endpoint %s: forget flows: %w", e.Want.Endpoint, err)
	}
	return nil
}

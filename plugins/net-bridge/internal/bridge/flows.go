package bridge

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/network"
)

// forgetFlows makes the kernel forget UDP conversations with the endpoint's
// host ports: rules decide on the first packet of a conversation only, and a
// client that goes on sending would be stuck with what was true before. A
// kernel that cannot is no reason to fail.
func (d *Driver) forgetFlows(e *endpoint) {
	filters, err := udpFilters(e)
	if err == nil && len(filters) > 0 {
		_, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filters...)
	}
	if err != nil {
		d.log.Warn("clients of a UDP port may be stuck with its former owner for a while", "endpoint", e.Want.Endpoint, "err", err)
	}
}

func udpFilters(e *endpoint) ([]netlink.CustomConntrackFilter, error) {
	var filters []netlink.CustomConntrackFilter
	for _, p := range e.Ports {
		if p.Protocol != network.UDP {
			continue
		}
		f := &netlink.ConntrackFilter{}
		if err := f.AddProtocol(unix.IPPROTO_UDP); err != nil {
			return nil, err
		}
		if err := f.AddPort(netlink.ConntrackOrigDstPort, p.HostPort); err != nil {
			return nil, err
		}
		filters = append(filters, f)
	}
	return filters, nil
}

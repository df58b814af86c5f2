package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net"
	"net/netip"
	"slices"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/plugins/net-bridge/internal/ipam"
	"github.com/strakehq/strake/plugins/net-bridge/internal/link"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
)

// netState is a network as recorded.
type netState struct {
	// Want is the network as it was asked for, Have with all filled in.
	Want, Have network.Network
	Bridge     string
	MTU        int
	Masquerade bool
	ICC        bool
	// HostIP is where ports are published that name no address.
	HostIP netip.Addr
}

func (n *netState) subnet() network.Subnet { return n.Have.Subnets[0] }

// gateway is the bridge's address with the subnet's length.
func (n *netState) gateway() netip.Prefix {
	s := n.subnet()
	return netip.PrefixFrom(s.Gateway, s.Prefix.Bits())
}

// same says whether r asks for the network as it is: as it was asked for
// first, or as it was answered.
func (n *netState) same(r network.Network) bool {
	for _, have := range []network.Network{n.Want, n.Have} {
		if r.Internal == have.Internal && r.IPv6 == have.IPv6 && maps.Equal(r.Options, have.Options) &&
			slices.EqualFunc(r.Subnets, have.Subnets, sameSubnet) {
			return true
		}
	}
	return false
}

func sameSubnet(a, b network.Subnet) bool {
	return a.Prefix == b.Prefix && a.Gateway == b.Gateway && a.Range == b.Range && maps.Equal(a.Reserved, b.Reserved)
}

func (n *netState) rules() firewall.Network {
	return firewall.Network{
		Bridge: n.Bridge, Subnet: n.subnet().Prefix,
		Internal: n.Have.Internal, Masquerade: n.Masquerade, ICC: n.ICC,
	}
}

func (n *netState) bridge() link.Bridge {
	return link.Bridge{
		Name: n.Bridge, Tag: networkTag + string(n.Have.ID), Address: n.gateway(), MTU: n.MTU,
		MAC: macOf(n.subnet().Gateway),
	}
}

func (n *netState) ipam() ipam.Subnet {
	return ipam.Subnet{Prefix: n.subnet().Prefix, Range: n.subnet().Range}
}

// Aliases of links: what they are and whose.
const (
	networkTag  = "network:"
	endpointTag = "endpoint:"
)

// endpoint is an attachment as recorded. The record is written before
// anything is made and says all that is needed to make, repair or remove it.
type endpoint struct {
	// Want is the request as it came.
	Want network.AttachRequest
	// Ports are Want.Ports with host ports filled in.
	Ports   []network.Port
	Address netip.Prefix
	MAC     string
	Host    string
	// Boot is the kernel's boot id.
	Boot string
	// Leaving: detached, only the link is still to be deleted.
	Leaving bool
	// stuck: the link cannot be deleted.
	stuck bool
}

// same says whether r repeats the request. Names may have changed since.
func (e *endpoint) same(r network.AttachRequest) bool {
	w := e.Want
	return w.Network == r.Network && w.NetNS == r.NetNS && w.IfName == r.IfName && w.IPv4 == r.IPv4 &&
		w.MAC == r.MAC && w.DefaultRoute == r.DefaultRoute && slices.Equal(w.Ports, r.Ports)
}

func (e *endpoint) veth(n *netState) link.Veth {
	mac, _ := net.ParseMAC(e.MAC) // checked when the record was made
	v := link.Veth{
		Host: e.Host, Tag: endpointTag + string(e.Want.Endpoint), Bridge: n.Bridge, Isolated: !n.ICC,
		NetNS: e.Want.NetNS, IfName: e.Want.IfName, MAC: mac, Address: e.Address, MTU: n.MTU,
	}
	if e.Want.DefaultRoute && !n.Have.Internal {
		v.Gateway = n.subnet().Gateway
	}
	return v
}

func (e *endpoint) forwards() []firewall.Forward {
	var out []firewall.Forward
	for _, p := range e.Ports {
		f := firewall.Forward{
			Protocol: p.Protocol, HostIP: p.HostIP, HostPort: p.HostPort,
			ContainerIP: e.Address.Addr(), ContainerPort: p.ContainerPort,
		}
		if f.HostIP.IsUnspecified() {
			f.HostIP = netip.Addr{}
		}
		out = append(out, f)
	}
	return out
}

// attachment is the answer to Attach.
func (e *endpoint) attachment(n *netState) (network.Attachment, error) {
	state, err := json.Marshal(e)
	if err != nil {
		return network.Attachment{}, err
	}
	a := network.Attachment{
		Endpoint: e.Want.Endpoint, Network: e.Want.Network, Container: e.Want.Container, NetNS: e.Want.NetNS,
		IfName: e.Want.IfName, MAC: e.MAC, Result: e.result(n), Ports: slices.Clone(e.Ports),
		Handle: driver.Handle{Version: handleVersion, State: state},
	}
	for i, p := range a.Ports {
		if !p.HostIP.IsValid() {
			a.Ports[i].HostIP = netip.IPv4Unspecified()
		}
	}
	return a, nil
}

func (e *endpoint) result(n *netState) *types100.Result {
	index := 2
	r := &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{
			{Name: n.Bridge, Mac: macOf(n.subnet().Gateway).String()},
			{Name: e.Host},
			{Name: e.Want.IfName, Mac: e.MAC, Sandbox: e.Want.NetNS},
		},
		IPs: []*types100.IPConfig{{
			Interface: &index,
			Address:   net.IPNet{IP: e.Address.Addr().AsSlice(), Mask: net.CIDRMask(e.Address.Bits(), 32)},
			Gateway:   n.subnet().Gateway.AsSlice(),
		}},
	}
	if gw := e.veth(n).Gateway; gw.IsValid() {
		r.Routes = append(r.Routes, defaultRoute(gw))
	}
	return r
}

// macOf derives a hardware address from an IPv4 address, as Docker did for
// long: an address that is used again comes with the hardware address that
// neighbours remember.
func macOf(a netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x02, 0x42}, a.AsSlice()...)
}

// hostLink names the host's end of an endpoint's link, 14 bytes of the 15 that
// the kernel allows.
func hostLink(owner string, id network.EndpointID) string {
	return "sk" + digest(owner, string(id))[:12]
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p + "\x00")) // never fails (hash.Hash)
	}
	return hex.EncodeToString(h.Sum(nil))
}

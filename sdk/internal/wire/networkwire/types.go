package networkwire

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"

	"github.com/containerd/errdefs"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	pb "github.com/strakehq/strake/sdk/internal/pb/networkpb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/network"
)

// parser reads addresses and remembers the first that is malformed.
type parser struct{ err error }

func (p *parser) fail(what, s string, err error) {
	if p.err == nil {
		p.err = fmt.Errorf("%s %q: %w: %w", what, s, errdefs.ErrInvalidArgument, err)
	}
}

func (p *parser) addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		p.fail("address", s, err)
	}
	return a
}

func (p *parser) prefix(s string) netip.Prefix {
	if s == "" {
		return netip.Prefix{}
	}
	a, err := netip.ParsePrefix(s)
	if err != nil {
		p.fail("prefix", s, err)
	}
	return a
}

func (p *parser) port(n uint32) uint16 {
	if n > math.MaxUint16 {
		p.fail("port", strconv.FormatUint(uint64(n), 10), strconv.ErrRange)
	}
	return uint16(n)
}

func (p *parser) ports(in []*pb.Port) []network.Port {
	var out []network.Port
	for _, q := range in {
		out = append(out, network.Port{
			Protocol: network.Protocol(q.GetProtocol()), ContainerPort: p.port(q.GetContainerPort()),
			HostIP: p.addr(q.GetHostIp()), HostPort: p.port(q.GetHostPort()), HostPortEnd: p.port(q.GetHostPortEnd()),
		})
	}
	return out
}

func toPorts(in []network.Port) []*pb.Port {
	var out []*pb.Port
	for _, q := range in {
		out = append(out, &pb.Port{
			Protocol: string(q.Protocol), ContainerPort: uint32(q.ContainerPort), HostIp: text(q.HostIP),
			HostPort: uint32(q.HostPort), HostPortEnd: uint32(q.HostPortEnd),
		})
	}
	return out
}

func text(a interface {
	IsValid() bool
	String() string
},
) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func toNetwork(n network.Network) *pb.Network {
	out := &pb.Network{Id: string(n.ID), Name: n.Name, Internal: n.Internal, Ipv6: n.IPv6, Options: n.Options}
	for _, s := range n.Subnets {
		sub := &pb.Subnet{Prefix: text(s.Prefix), Gateway: text(s.Gateway), Range: text(s.Range)}
		for name, a := range s.Reserved {
			if sub.Reserved == nil {
				sub.Reserved = map[string]string{}
			}
			sub.Reserved[name] = text(a)
		}
		out.Subnets = append(out.Subnets, sub)
	}
	return out
}

func fromNetwork(n *pb.Network) (network.Network, error) {
	var p parser
	out := network.Network{
		ID: network.NetworkID(n.GetId()), Name: n.GetName(), Internal: n.GetInternal(), IPv6: n.GetIpv6(),
		Options: n.GetOptions(),
	}
	for _, s := range n.GetSubnets() {
		sub := network.Subnet{Prefix: p.prefix(s.GetPrefix()), Gateway: p.addr(s.GetGateway()), Range: p.prefix(s.GetRange())}
		for name, a := range s.GetReserved() {
			if sub.Reserved == nil {
				sub.Reserved = map[string]netip.Addr{}
			}
			sub.Reserved[name] = p.addr(a)
		}
		out.Subnets = append(out.Subnets, sub)
	}
	return out, p.err
}

func toRequest(r network.AttachRequest) *pb.AttachRequest {
	return &pb.AttachRequest{
		Endpoint: string(r.Endpoint), Network: string(r.Network), Container: r.Container, NetNs: r.NetNS, IfName: r.IfName,
		Ipv4: text(r.IPv4), Ipv6: text(r.IPv6), Mac: r.MAC, DefaultRoute: r.DefaultRoute, Hostname: r.Hostname,
		Names: r.Names, Ports: toPorts(r.Ports),
	}
}

func fromRequest(r *pb.AttachRequest) (network.AttachRequest, error) {
	var p parser
	return network.AttachRequest{
		Endpoint: network.EndpointID(r.GetEndpoint()), Network: network.NetworkID(r.GetNetwork()),
		Container: r.GetContainer(), NetNS: r.GetNetNs(), IfName: r.GetIfName(),
		IPv4: p.addr(r.GetIpv4()), IPv6: p.addr(r.GetIpv6()), MAC: r.GetMac(), DefaultRoute: r.GetDefaultRoute(),
		Hostname: r.GetHostname(), Names: r.GetNames(), Ports: p.ports(r.GetPorts()),
	}, p.err
}

func toAttachment(a network.Attachment) (*pb.Attachment, error) {
	out := &pb.Attachment{
		Endpoint: string(a.Endpoint), Network: string(a.Network), Container: a.Container, NetNs: a.NetNS,
		IfName: a.IfName, Mac: a.MAC, Ports: toPorts(a.Ports), Handle: driverwire.ToHandle(a.Handle),
	}
	if a.Result == nil {
		return out, nil
	}
	var err error
	if out.Result, err = json.Marshal(a.Result); err != nil {
		return nil, fmt.Errorf("endpoint %s: encode the CNI result: %w", a.Endpoint, err)
	}
	return out, nil
}

func fromAttachment(a *pb.Attachment) (network.Attachment, error) {
	var p parser
	out := network.Attachment{
		Endpoint: network.EndpointID(a.GetEndpoint()), Network: network.NetworkID(a.GetNetwork()),
		Container: a.GetContainer(), NetNS: a.GetNetNs(), IfName: a.GetIfName(), MAC: a.GetMac(),
		Ports: p.ports(a.GetPorts()), Handle: driverwire.FromHandle(a.GetHandle()),
	}
	if p.err != nil || len(a.GetResult()) == 0 {
		return out, p.err
	}
	out.Result = &types100.Result{}
	if err := json.Unmarshal(a.GetResult(), out.Result); err != nil {
		return network.Attachment{}, fmt.Errorf("endpoint %s: decode the CNI result: %w: %w", a.GetEndpoint(), errdefs.ErrInvalidArgument, err)
	}
	return out, nil
}

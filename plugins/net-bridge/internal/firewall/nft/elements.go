package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/sdk/network"
)

// Concatenated keys pad every part to the four bytes of a register.

func protoPort(p network.Protocol, port uint16) []byte {
	b := make([]byte, 8)
	b[0] = protocolNumber(p)
	binary.BigEndian.PutUint16(b[4:], port)
	return b
}

func addrPort(a netip.Addr, port uint16) []byte {
	b := make([]byte, 8)
	copy(b, a.AsSlice())
	binary.BigEndian.PutUint16(b[4:], port)
	return b
}

func protocolNumber(p network.Protocol) byte {
	switch p {
	case network.UDP:
		return unix.IPPROTO_UDP
	case network.SCTP:
		return unix.IPPROTO_SCTP
	default:
		return unix.IPPROTO_TCP
	}
}

func addrProtoPort(f firewall.Forward) []byte {
	return append(f.HostIP.AsSlice(), protoPort(f.Protocol, f.HostPort)...)
}

// sorted are forwards as elements of the sets that they belong to.
func (l layout) sorted(fs []firewall.Forward) map[*nftables.Set][]nftables.SetElement {
	m := map[*nftables.Set][]nftables.SetElement{}
	for _, f := range fs {
		to := addrPort(f.ContainerIP, f.ContainerPort)
		if !f.HostIP.IsValid() {
			m[l.anyAddr] = append(m[l.anyAddr], nftables.SetElement{Key: protoPort(f.Protocol, f.HostPort), Val: to})
			continue
		}
		m[l.oneAddr] = append(m[l.oneAddr], nftables.SetElement{Key: addrProtoPort(f), Val: to})
		if f.Loopback() {
			m[l.loopback] = append(m[l.loopback], nftables.SetElement{Key: addrProtoPort(f)})
		}
	}
	return m
}

func (l layout) add(c *nftables.Conn) func([]firewall.Forward) error {
	return l.each(c.SetAddElements)
}

func (l layout) remove(c *nftables.Conn) func([]firewall.Forward) error {
	return l.each(c.SetDeleteElements)
}

func (l layout) each(do func(*nftables.Set, []nftables.SetElement) error) func([]firewall.Forward) error {
	return func(fs []firewall.Forward) error {
		for s, elems := range l.sorted(fs) {
			if err := do(s, elems); err != nil {
				return err
			}
		}
		return nil
	}
}

// elements are those of every set that r asks for.
func (l layout) elements(r firewall.Rules) map[*nftables.Set][]nftables.SetElement {
	m := l.sorted(r.Forwards)
	m[l.bridges] = bridgeElements(r.Networks)
	for _, s := range l.sets() {
		m[s] = m[s][:len(m[s]):len(m[s])] // none is an answer, too
	}
	return m
}

func bridgeElements(ns []firewall.Network) []nftables.SetElement {
	var out []nftables.SetElement
	for _, n := range ns {
		out = append(out, nftables.SetElement{Key: ifname(n.Bridge)})
	}
	return out
}

// ifname pads an interface's name as the kernel compares it.
func ifname(s string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, s)
	return b
}

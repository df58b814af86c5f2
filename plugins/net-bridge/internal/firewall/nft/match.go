package nft

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// ctStatusBitDNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
const ctStatusBitDNAT = 1 << 5

// Registers: 1 is the first of sixteen bytes; 8, 9, 10 and 11 are its four
// parts (NFT_REG32_00 and on), which hold the parts of a concatenation.

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func ifCmp(key expr.MetaKey, name string, equal bool) rule {
	op := expr.CmpOpNeq
	if equal {
		op = expr.CmpOpEq
	}
	return rule{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: ifname(name)}}
}

func iifname(name string, equal bool) rule { return ifCmp(expr.MetaKeyIIFNAME, name, equal) }
func oifname(name string, equal bool) rule { return ifCmp(expr.MetaKeyOIFNAME, name, equal) }

func (l layout) fromBridge() rule {
	return match(rule{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}, lookup(l.bridges, 0))
}

func (l layout) toBridge() rule {
	return match(rule{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}}, lookup(l.bridges, 0))
}

// lookup finds register 1 in a set, or in a map with the value going to dest.
func lookup(s *nftables.Set, dest uint32) rule {
	return rule{&expr.Lookup{SourceRegister: 1, DestRegister: dest, IsDestRegSet: dest != 0, SetName: s.Name, SetID: s.ID}}
}

func loadAddr(reg uint32) rule {
	return rule{&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}}
}

// loadProtoPort loads the protocol to reg and the destination port to the
// register after it.
func loadProtoPort(reg uint32) rule {
	next := reg + 1
	if reg == 1 {
		next = 9
	}
	return rule{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Payload{DestRegister: next, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

// dnat rewrites the destination to the address in register 1 and the port in
// the part after it.
func dnat() rule {
	return rule{&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(nftables.TableFamilyIPv4), RegAddrMin: 1, RegProtoMin: 9, Specified: true}}
}

func inPrefix(offset uint32, p netip.Prefix) rule {
	mask := net.CIDRMask(p.Bits(), 32)
	return rule{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func saddr(p netip.Prefix) rule { return inPrefix(12, p) }
func daddr(p netip.Prefix) rule { return inPrefix(16, p) }

func ctBits(key expr.CtKey, bits uint32) rule {
	return rule{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func ctState(bits uint32) rule { return ctBits(expr.CtKeySTATE, bits) }
func ctStatusDNAT() rule       { return ctBits(expr.CtKeySTATUS, ctStatusBitDNAT) }

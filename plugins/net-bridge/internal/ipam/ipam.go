// Package ipam picks IPv4 subnets and addresses. It keeps nothing: what is in
// use is told by the caller, who has it on disk.
package ipam

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/containerd/errdefs"
)

// Pool is a range of addresses that automatic subnets are cut from.
type Pool struct {
	// Base is the whole range.
	Base netip.Prefix `json:"base"`
	// Size is the prefix length of one subnet.
	Size int `json:"size"`
}

// DefaultPools are the pools without configuration: 172.30.0.0/16, then
// sixteens below it, then small subnets of a rarely used part of 192.168/16.
func DefaultPools() []Pool {
	var pools []Pool
	for second := byte(30); second >= 20; second-- {
		pools = append(pools, Pool{Base: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, second, 0, 0}), 16), Size: 16})
	}
	return append(pools, Pool{Base: netip.MustParsePrefix("192.168.128.0/17"), Size: 24})
}

// Validate says what is wrong with a pool.
func (p Pool) Validate() error {
	switch {
	case !p.Base.IsValid() || !p.Base.Addr().Is4():
		return fmt.Errorf("pool %s: base must be an IPv4 prefix such as 10.201.0.0/16: %w", p.Base, errdefs.ErrInvalidArgument)
	case p.Size < p.Base.Bits() || p.Size > 29:
		return fmt.Errorf("pool %s: size %d must be between the base's %d and 29: %w", p.Base, p.Size, p.Base.Bits(), errdefs.ErrInvalidArgument)
	}
	return nil
}

// FreeSubnet returns the first subnet of the pools that overlaps with nothing
// in use; ErrResourceExhausted when there is none.
func FreeSubnet(pools []Pool, used []netip.Prefix) (netip.Prefix, error) {
	for _, pool := range pools {
		step := uint32(1) << (32 - pool.Size)
		last := toInt(LastAddr(pool.Base))
		for at := toInt(pool.Base.Masked().Addr()); ; at += step {
			p := netip.PrefixFrom(fromInt(at), pool.Size)
			if _, taken := Overlap(p, used); !taken {
				return p, nil
			}
			if last-at < step {
				break
			}
		}
	}
	return netip.Prefix{}, fmt.Errorf("all predefined address pools have been fully subnetted, remove unused networks or add pools to the driver's options: %w", errdefs.ErrResourceExhausted)
}

// Overlap returns the first of others that shares an address with p.
func Overlap(p netip.Prefix, others []netip.Prefix) (netip.Prefix, bool) {
	for _, o := range others {
		if p.Overlaps(o) {
			return o, true
		}
	}
	return netip.Prefix{}, false
}

// LastAddr returns the last address of an IPv4 prefix, its broadcast address.
func LastAddr(p netip.Prefix) netip.Addr {
	return fromInt(toInt(p.Masked().Addr()) | (1<<(32-p.Bits()) - 1))
}

// Subnet is a range to take addresses from.
type Subnet struct {
	Prefix netip.Prefix
	// Range restricts automatic choice; zero: all of Prefix.
	Range netip.Prefix
}

// Usable says whether a container may have the address.
func (s Subnet) Usable(a netip.Addr) bool {
	return s.Prefix.Contains(a) && a != s.Prefix.Masked().Addr() && a != LastAddr(s.Prefix)
}

// Next returns the first free address after last, starting over at the end, so
// that an address is not used again at once and a neighbour's or client's
// memory of it has time to fade. used says what is taken.
func (s Subnet) Next(last netip.Addr, used func(netip.Addr) bool) (netip.Addr, error) {
	r := s.Range
	if !r.IsValid() {
		r = s.Prefix
	}
	first, end := toInt(r.Masked().Addr()), toInt(LastAddr(r))
	at := first
	if last.IsValid() && r.Contains(last) {
		at = toInt(last)
	}
	for range uint64(end-first) + 1 {
		if at++; at > end || at < first {
			at = first
		}
		if a := fromInt(at); s.Usable(a) && !used(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no available IPv4 addresses in %s: %w", r, errdefs.ErrResourceExhausted)
}

func toInt(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func fromInt(v uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

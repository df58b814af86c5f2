package link

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Bridge is what a bridge should be.
type Bridge struct {
	Name string
	// Tag follows the owner in the alias.
	Tag string
	// Address is the gateway with the subnet's length.
	Address netip.Prefix
	// MTU in bytes; 0: the kernel's 1500.
	MTU int
	// MAC is set explicitly, or the kernel would take over the lowest of
	// its ports' and change it as they come and go.
	MAC net.HardwareAddr
}

// EnsureBridge makes the bridge or repairs it. A link of the name that is no
// bridge, or a bridge of another owner, is ErrAlreadyExists.
func (l *Links) EnsureBridge(b Bridge) error {
	k, err := l.find(b.Name)
	if err != nil {
		return err
	}
	if k == nil {
		if k, err = l.addBridge(b); err != nil {
			return err
		}
	}
	if err := l.mine(k, b); err != nil {
		return err
	}
	if err := l.onlyAddress(k, b.Address); err != nil {
		return fmt.Errorf("bridge %s: address %s: %w", b.Name, b.Address, err)
	}
	if b.MTU != 0 && k.Attrs().MTU != b.MTU {
		if err := l.host.LinkSetMTU(k, b.MTU); err != nil {
			return fmt.Errorf("bridge %s: mtu %d: %w", b.Name, b.MTU, err)
		}
	}
	// Answers to connections from 127.0.0.1 come in through the bridge.
	if _, err := Sysctl("ipv4/conf/"+b.Name+"/route_localnet", "1"); err != nil {
		return fmt.Errorf("bridge %s: %w", b.Name, err)
	}
	if err := deaf(b.Name); err != nil {
		return fmt.Errorf("bridge %s: %w", b.Name, err)
	}
	if k.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := l.host.LinkSetUp(k); err != nil {
		return fmt.Errorf("bridge %s: set up: %w", b.Name, err)
	}
	return nil
}

// deaf makes the host take neither routes nor redirects from a bridge: a
// container that may make raw packets could announce itself as the host's router
// (router advertisements) or as a better one (ICMP redirects). Kernels without
// IPv6 lack its settings.
func deaf(bridge string) error {
	for _, s := range []string{"ipv6/conf/" + bridge + "/accept_ra", "ipv6/conf/" + bridge + "/accept_redirects", "ipv4/conf/" + bridge + "/accept_redirects"} {
		if _, err := Sysctl(s, "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (l *Links) addBridge(b Bridge) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = b.Name, b.MTU, b.MAC
	k := &netlink.Bridge{LinkAttrs: attrs}
	if err := l.host.LinkAdd(k); err != nil {
		return nil, fmt.Errorf("bridge %s: add: %w", b.Name, err)
	}
	// Networks have no IPv6: without this, containers would reach whatever
	// listens on the host's link-local address.
	if _, err := Sysctl("ipv6/conf/"+b.Name+"/disable_ipv6", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("bridge %s: %w", b.Name, err), l.host.LinkDel(k))
	}
	if err := l.host.LinkSetAlias(k, l.alias+b.Tag); err != nil {
		return nil, errors.Join(fmt.Errorf("bridge %s: set alias: %w", b.Name, err), l.host.LinkDel(k))
	}
	return l.host.LinkByName(b.Name)
}

// mine checks the owner. A bridge without alias may be one of our own of which
// the making was cut short, or an administrator's who prepared it for us; one
// with another tag of ours is left of a network that no record knows any more
// (the caller has seen to it). All three are taken over.
func (l *Links) mine(k netlink.Link, b Bridge) error {
	alias := k.Attrs().Alias
	switch {
	case k.Type() != "bridge":
		return fmt.Errorf("bridge %s: a link of this name and type %s exists, remove it or name another bridge: %w", b.Name, k.Type(), errdefs.ErrAlreadyExists)
	case alias == l.alias+b.Tag:
		return nil
	case alias != "" && !strings.HasPrefix(alias, l.alias):
		return fmt.Errorf("bridge %s: belongs to somebody else (alias %q), delete it or name another bridge: %w", b.Name, alias, errdefs.ErrAlreadyExists)
	}
	if err := l.host.LinkSetAlias(k, l.alias+b.Tag); err != nil {
		return fmt.Errorf("bridge %s: set alias: %w", b.Name, err)
	}
	return nil
}

// onlyAddress makes a the link's only IPv4 address.
func (l *Links) onlyAddress(k netlink.Link, a netip.Prefix) error {
	have, err := l.host.AddrList(k, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	found := false
	for i, h := range have {
		if p, ok := prefixOf(h.IPNet); ok && p == a {
			found = true
		} else if err := l.host.AddrDel(k, &have[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
	}
	if found {
		return nil
	}
	return l.host.AddrAdd(k, &netlink.Addr{IPNet: ipNet(a)})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefix converts a network.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	p, ok := prefixOf(n)
	return p.Masked(), ok
}

// prefixOf converts an address with its network's length.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}

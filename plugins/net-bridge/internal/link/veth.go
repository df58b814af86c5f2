package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mishap"
)

// Veth is a container's interface and the host's end of it.
type Veth struct {
	// Host is the name of the host's end.
	Host string
	// Tag follows the owner in the alias of the host's end.
	Tag    string
	Bridge string
	// Isolated keeps the container from others on the bridge.
	Isolated bool
	NetNS    string
	IfName   string
	MAC      net.HardwareAddr
	Address  netip.Prefix
	// Gateway is where the default route goes; zero: no default route.
	Gateway netip.Addr
	MTU     int
}

// EnsureVeth makes the pair or repairs it. A namespace that is gone or a
// bridge that is missing is ErrNotFound; an interface of the name in the
// namespace that is not ours ErrAlreadyExists.
func (l *Links) EnsureVeth(v Veth) error {
	fd, err := openNetNS(v.NetNS)
	if err != nil {
		return err
	}
	ns := netns.NsHandle(fd)
	err = l.ensureVeth(v, ns)
	return errors.Join(err, ns.Close())
}

func (l *Links) ensureVeth(v Veth, ns netns.NsHandle) error {
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("network namespace %s: netlink: %w", v.NetNS, err)
	}
	defer inside.Close()
	bridge, err := l.find(v.Bridge)
	if err != nil {
		return err
	}
	if bridge == nil {
		return fmt.Errorf("bridge %s: %w: %w", v.Bridge, ErrNoBridge, errdefs.ErrNotFound)
	}
	host, peer, err := l.pair(v, inside)
	if err != nil {
		return err
	}
	if host == nil {
		if host, peer, err = l.addPair(v, ns, inside, bridge.Attrs().Index); err != nil {
			return fmt.Errorf("link %s (%s in %s): add: %w", v.Host, v.IfName, v.NetNS, err)
		}
	}
	mishap.Hit(mishap.BridgeLink)
	if err := l.setHost(v, host, bridge.Attrs().Index); err != nil {
		return fmt.Errorf("link %s: %w", v.Host, err)
	}
	if err := setInside(v, inside, peer); err != nil {
		return fmt.Errorf("interface %s in %s: %w", v.IfName, v.NetNS, err)
	}
	mishap.Hit(mishap.BridgeLinked)
	return errors.Join(
		awaitCarrier(l.host, host, v.Host),
		awaitCarrier(inside, peer, v.IfName),
		awaitCarrier(l.host, bridge, v.Bridge), // of which this may be the first port
	)
}

// awaitCarrier returns when a link can send. After a carrier comes on, the
// kernel drops what is sent until its link watch has run, and a client whose
// first SYN is dropped comes back a second later. Since Linux 6.8 asking for
// the link makes it run (linkwatch_sync_dev in rtnl_getlink), before that it
// runs soon.
func awaitCarrier(h *netlink.Handle, k netlink.Link, name string) error {
	const patience, step = time.Second, 200 * time.Microsecond
	for until := time.Now().Add(patience); ; time.Sleep(step) {
		now, err := h.LinkByIndex(k.Attrs().Index)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		// Unknown is the state of links that never lost their carrier.
		if s := now.Attrs().OperState; s == netlink.OperUp || s == netlink.OperUnknown {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("link %s: is %s and not up after %s: %w", name, now.Attrs().OperState, patience, errdefs.ErrFailedPrecondition)
		}
	}
}

// pair finds both ends of the pair as it is; none, when one is missing.
func (l *Links) pair(v Veth, inside *netlink.Handle) (host, peer netlink.Link, err error) {
	host, err = l.find(v.Host)
	if err != nil || host == nil {
		return nil, nil, err
	}
	peer, err = inside.LinkByName(v.IfName)
	if err == nil && peer.Attrs().ParentIndex == host.Attrs().Index {
		return host, peer, nil
	}
	// The other end went elsewhere: begin again.
	return nil, nil, l.Delete(v.Host)
}

func (l *Links) addPair(v Veth, ns netns.NsHandle, inside *netlink.Handle, bridge int) (host, peer netlink.Link, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = v.Host, v.MTU, bridge
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: v.IfName, PeerHardwareAddr: v.MAC, PeerNamespace: netlink.NsFd(int(ns))}
	err = l.host.LinkAdd(pair)
	if errors.Is(err, unix.EEXIST) {
		return nil, nil, fmt.Errorf("the namespace has an interface of this name: %w", errdefs.ErrAlreadyExists)
	}
	if err != nil {
		return nil, nil, err
	}
	if peer, err = inside.LinkByName(v.IfName); err != nil {
		return nil, nil, errors.Join(err, l.host.LinkDel(pair))
	}
	return pair, peer, nil
}

// setHost names the owner of the host's end and joins it to the bridge.
func (l *Links) setHost(v Veth, host netlink.Link, bridge int) error {
	if alias := l.alias + v.Tag; host.Attrs().Alias != alias {
		if err := l.host.LinkSetAlias(host, alias); err != nil {
			return fmt.Errorf("set alias: %w", err)
		}
	}
	if host.Attrs().MasterIndex != bridge {
		if err := l.host.LinkSetMasterByIndex(host, bridge); err != nil {
			return fmt.Errorf("join bridge %s: %w", v.Bridge, err)
		}
	}
	if bridgeFiltered() {
		// A bridge that passes frames through iptables forwards a
		// container's connection to itself without leaving layer 2.
		if err := l.host.LinkSetHairpin(host, true); err != nil {
			return fmt.Errorf("set hairpin: %w", err)
		}
	}
	if v.Isolated {
		if err := l.host.LinkSetIsolated(host, true); err != nil {
			return fmt.Errorf("set isolated: %w", err)
		}
	}
	if host.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	return l.host.LinkSetUp(host)
}

// bridgeFiltered says whether the module br_netfilter is at work.
func bridgeFiltered() bool {
	data, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && len(data) > 0 && data[0] == '1'
}

// setInside gives the container's end its addresses and routes.
func setInside(v Veth, inside *netlink.Handle, peer netlink.Link) error {
	if peer.Attrs().Flags&net.FlagUp == 0 {
		// Without IPv6 on the network, no link-local address either. A
		// kernel without IPv6 does not know the setting.
		err := inside.LinkSetIP6AddrGenMode(peer, 1)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("no IPv6 address: %w", err)
		}
		if err := inside.LinkSetUp(peer); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	if err := inside.AddrReplace(peer, &netlink.Addr{IPNet: ipNet(v.Address)}); err != nil {
		return fmt.Errorf("address %s: %w", v.Address, err)
	}
	if !v.Gateway.IsValid() {
		return nil
	}
	if err := inside.RouteReplace(&netlink.Route{LinkIndex: peer.Attrs().Index, Gw: v.Gateway.AsSlice()}); err != nil {
		return fmt.Errorf("default route by %s: %w", v.Gateway, err)
	}
	return nil
}

// CheckVeth says what is missing of the pair: ErrNotFound for a namespace or
// link that is gone, ErrFailedPrecondition for anything else.
func (l *Links) CheckVeth(v Veth) error {
	fd, err := openNetNS(v.NetNS)
	if err != nil {
		return err
	}
	ns := netns.NsHandle(fd)
	return errors.Join(l.checkVeth(v, ns), ns.Close())
}

func (l *Links) checkVeth(v Veth, ns netns.NsHandle) error {
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("network namespace %s: netlink: %w", v.NetNS, err)
	}
	defer inside.Close()
	host, err := l.find(v.Host)
	if err != nil {
		return err
	}
	bridge, err := l.find(v.Bridge)
	if err != nil {
		return err
	}
	peer, err := inside.LinkByName(v.IfName)
	if err != nil || host == nil || bridge == nil {
		return fmt.Errorf("link %s to %s in %s: missing: %w", v.Host, v.IfName, v.NetNS, errdefs.ErrNotFound)
	}
	addrs, err := inside.AddrList(peer, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("interface %s in %s: addresses: %w", v.IfName, v.NetNS, err)
	}
	return whole(v, host, peer, bridge, addrs)
}

func whole(v Veth, host, peer, bridge netlink.Link, addrs []netlink.Addr) error {
	wrong := func(what string) error {
		return fmt.Errorf("link %s to %s in %s: %s: %w", v.Host, v.IfName, v.NetNS, what, errdefs.ErrFailedPrecondition)
	}
	switch {
	case host.Attrs().MasterIndex != bridge.Attrs().Index:
		return wrong("not on bridge " + v.Bridge)
	case host.Attrs().Flags&net.FlagUp == 0 || peer.Attrs().Flags&net.FlagUp == 0:
		return wrong("down")
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok && p == v.Address {
			return nil
		}
	}
	return wrong("address " + v.Address.String() + " is missing")
}

package conformance

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/network"
)

func trafficCases() []netCase {
	return []netCase{
		{"containers of a network reach each other under their own addresses", func(l *netLab) {
			n := l.network(network.Network{})
			a, b := l.attach(n), l.attach(n)
			b.serve("tcp4", ":80", "b")
			if seen := a.reaches(l.T, "a", "tcp4", b.web(), "b"); seen != a.addr() {
				l.Fatalf("b saw %s, want %s", seen, a.addr())
			}
		}},
		{"containers of different networks do not reach each other", func(l *netLab) {
			a, b := l.attach(l.network(network.Network{})), l.attach(l.network(network.Network{}))
			b.serve("tcp4", ":80", "b")
			a.fails(l.T, "a", b.web())
		}},
		{"a container reaches other hosts under the host's address", func(l *netLab) {
			w := newNeighbour(l.T)
			w.serve("tcp4", ":80", "w")
			a := l.attach(l.network(network.Network{}))
			if seen := a.reaches(l.T, "a", "tcp4", hostAddr(w.addr.String(), 80), "w"); seen != w.host {
				l.Fatalf("the other host saw %s, want %s", seen, w.host)
			}
		}},
		{"another host does not reach a container that published nothing", func(l *netLab) {
			w := newNeighbour(l.T)
			a := l.attach(l.network(network.Network{}))
			a.serve("tcp4", ":80", "a")
			w.fails(l.T, "the other host", a.web())
			(*netNS)(nil).reaches(l.T, "the host itself", "tcp4", a.web(), "a")
		}},
		{"containers of an internal network reach each other and nobody else", func(l *netLab) {
			w := newNeighbour(l.T)
			w.serve("tcp4", ":80", "w")
			n := l.network(network.Network{Internal: true})
			a, b := l.attach(n), l.attach(n)
			b.serve("tcp4", ":80", "b")
			a.reaches(l.T, "a", "tcp4", b.web(), "b")
			a.fails(l.T, "a", hostAddr(w.addr.String(), 80))
			a.viaGateway(l, n)
			a.fails(l.T, "a, by a route of its own", hostAddr(w.addr.String(), 80))
		}},
	}
}

// viaGateway gives a guest a default route that nobody gave it.
func (g guest) viaGateway(l *netLab, n network.Network) {
	l.NoError(g.do(func() error {
		k, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: k.Attrs().Index, Gw: n.Subnets[0].Gateway.AsSlice()})
	}), "add a route inside")
}

func portCases() []netCase {
	cases := []netCase{
		{"a published port is reached from everywhere", reachedFromEverywhere},
		{"a port published on a loopback address is for the host alone", loopbackOnly},
		{"a port published on one address of the host is not on the others", func(l *netLab) {
			w := newNeighbour(l.T)
			p := port(18083, 80, network.TCP)
			p.HostIP = w.host
			g := l.attach(l.network(network.Network{}), p)
			g.serve("tcp4", ":80", "g")
			w.reaches(l.T, "the other host", "tcp4", hostAddr(w.host.String(), 18083), "g")
			(*netNS)(nil).fails(l.T, "the host", "127.0.0.1:18083")
		}},
		{"a udp port is published, and clients follow when it moves to another container", udpPort},
		{"random ports are given and answered", func(l *netLab) {
			n := l.network(network.Network{})
			a := l.attach(n, port(0, 80, network.TCP), port(0, 81, network.TCP))
			a.serve("tcp4", ":80", "p80")
			a.serve("tcp4", ":81", "p81")
			for _, p := range a.Ports {
				(*netNS)(nil).reaches(l.T, "the host", "tcp4", hostAddr("127.0.0.1", p.HostPort), fmt.Sprintf("p%d", p.ContainerPort))
			}
		}},
		{"of a range the next free port is taken, and a full range is ErrConflict", func(l *netLab) {
			n := l.network(network.Network{})
			p := port(18090, 80, network.TCP)
			p.HostPortEnd = 18091
			a, b := l.attach(n, p), l.attach(n, p)
			if a.Ports[0].HostPort == b.Ports[0].HostPort || b.Ports[0].HostPort < 18090 || b.Ports[0].HostPort > 18091 {
				l.Fatalf("got %d and %d of 18090-18091", a.Ports[0].HostPort, b.Ports[0].HostPort)
			}
			l.ErrorIs(l.attachErr(n, func(r *network.AttachRequest) { r.Ports = []network.Port{p} }), errdefs.ErrConflict, "attach a third time")
		}},
		{"a port of another container is ErrConflict, and all or nothing is published", conflictWithContainer},
		{"a port of a process of the host is ErrConflict", func(l *netLab) {
			h, err := (*netNS)(nil).listen(l.ctx, "tcp4", ":18095")
			l.NoError(err, "listen on the host")
			l.Cleanup(func() { closeIgnoring(h.Close) })
			err = l.attachErr(l.network(network.Network{}), func(r *network.AttachRequest) { r.Ports = []network.Port{port(18095, 80, network.TCP)} })
			l.ErrorIs(err, errdefs.ErrConflict, "attach")
			namesPort(l, err, "18095")
		}},
		{"a port is free for others after detaching", func(l *netLab) {
			n := l.network(network.Network{})
			g := l.attach(n, port(18096, 80, network.TCP))
			g.serve("tcp4", ":80", "g")
			l.NoError(l.d.Detach(l.ctx, g.Endpoint), "detach")
			(*netNS)(nil).fails(l.T, "the host", "127.0.0.1:18096")
			h, err := (*netNS)(nil).listen(l.ctx, "tcp4", ":18096")
			l.NoError(err, "listen on the port")
			closeIgnoring(h.Close)
			l.attach(n, port(18096, 80, network.TCP))
		}},
	}
	for i, c := range cases {
		cases[i].run = func(l *netLab) {
			l.needs(network.CapPorts)
			c.run(l)
		}
	}
	return cases
}

func reachedFromEverywhere(l *netLab) {
	w := newNeighbour(l.T)
	n := l.network(network.Network{})
	g := l.attach(n, port(18080, 80, network.TCP))
	g.serve("tcp4", ":80", "g")
	host := (*netNS)(nil)
	host.reaches(l.T, "the host, by loopback,", "tcp4", "127.0.0.1:18080", "g")
	host.reaches(l.T, "the host, by another loopback address,", "tcp4", "127.0.0.9:18080", "g")
	host.reaches(l.T, "the host, by its own address,", "tcp4", hostAddr(w.host.String(), 18080), "g")
	if seen := w.reaches(l.T, "another host", "tcp4", hostAddr(w.host.String(), 18080), "g"); seen != w.addr {
		l.Fatalf("the container saw %s, want the client's own address %s", seen, w.addr)
	}
	gateway := hostAddr(n.Subnets[0].Gateway.String(), 18080)
	l.attach(n).reaches(l.T, "a container of the network", "tcp4", gateway, "g")
	l.attach(l.network(network.Network{})).reaches(l.T, "a container of another network", "tcp4", hostAddr(w.host.String(), 18080), "g")
	g.reaches(l.T, "the container itself", "tcp4", gateway, "g")
	g.reaches(l.T, "the container itself", "tcp4", hostAddr(w.host.String(), 18080), "g")
}

func loopbackOnly(l *netLab) { publishedOnLoopback(l, 18081).forHostAlone(func() {}) }

// loopbackPort is a port that a container publishes on 127.0.0.1, beside another
// container of the network and another host.
type loopbackPort struct {
	l     *netLab
	port  uint16
	n     network.Network
	other guest
	w     neighbour
}

func publishedOnLoopback(l *netLab, hostPort uint16) loopbackPort {
	p := port(int(hostPort), 80, network.TCP)
	p.HostIP = netip.MustParseAddr("127.0.0.1")
	n := l.network(network.Network{})
	lp := loopbackPort{l: l, port: hostPort, n: n, w: newNeighbour(l.T)}
	l.attach(n, p).serve("tcp4", ":80", "g")
	lp.other = l.attach(n)
	return lp
}

// forHostAlone demands that the host alone reaches the port, after something was
// done to it.
func (lp loopbackPort) forHostAlone(after func()) {
	l, addr := lp.l, hostAddr("127.0.0.1", lp.port)
	after()
	(*netNS)(nil).reaches(l.T, "the host", "tcp4", addr, "g")
	lp.w.fails(l.T, "another host", hostAddr(lp.w.host.String(), lp.port))
	lp.w.sendLoopbackTo(l, "wire0", lp.w.host)
	lp.other.sendLoopbackTo(l, "eth0", lp.n.Subnets[0].Gateway)
	lp.w.fails(l.T, "another host, with forged packets,", addr)
	lp.other.fails(l.T, "a container, with forged packets,", addr)
}

// sendLoopbackTo makes a namespace send packets for 127.0.0.1 out to a gateway,
// and take answers from there.
func (ns *netNS) sendLoopbackTo(l *netLab, link string, gateway netip.Addr) {
	l.NoError(ns.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		// Without the address its local route is gone too.
		if err := netlink.AddrDel(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(127, 0, 0, 1).To4(), Mask: net.CIDRMask(8, 32)}}); err != nil {
			return err
		}
		k, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		// The file is that of the thread's namespace.
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+link+"/route_localnet", []byte("1"), 0); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{
			LinkIndex: k.Attrs().Index, Gw: gateway.AsSlice(),
			Dst: &net.IPNet{IP: net.IPv4(127, 0, 0, 1).To4(), Mask: net.CIDRMask(32, 32)},
		})
	}), "route 127.0.0.1 to the outside")
}

func udpPort(l *netLab) {
	w := newNeighbour(l.T)
	n := l.network(network.Network{})
	a := l.attach(n, port(18082, 53, network.UDP))
	a.serve("udp4", ":53", "a")
	(*netNS)(nil).reaches(l.T, "the host", "udp4", "127.0.0.1:18082", "a")
	// One client's socket that lives on while the port changes hands.
	var c net.Conn
	l.NoError(w.do(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(l.ctx, "udp4", hostAddr(w.host.String(), 18082))
		return err
	}), "dial")
	l.Cleanup(func() { closeIgnoring(c.Close) })
	asks(l, c, "a")
	l.NoError(l.d.Detach(l.ctx, a.Endpoint), "detach")
	b := l.attach(n, port(18082, 53, network.UDP))
	b.serve("udp4", ":53", "b")
	asks(l, c, "b")
}

// asks sends until the answer comes from the wanted server.
func asks(l *netLab, c net.Conn, want string) {
	eventually(l.T, patience, "server "+want+" answers", func() error {
		if _, err := c.Write([]byte("?")); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(impatience)); err != nil {
			return err
		}
		buf := make([]byte, 100)
		k, err := c.Read(buf)
		if err != nil {
			return err
		}
		if got, _, _ := strings.Cut(string(buf[:k]), " "); got != want {
			return fmt.Errorf("%q answered", got)
		}
		return nil
	})
}

func conflictWithContainer(l *netLab) {
	n := l.network(network.Network{})
	l.attach(n, port(18085, 80, network.TCP))
	both := []network.Port{port(18086, 80, network.TCP), port(18085, 81, network.TCP)}
	err := l.attachErr(n, func(r *network.AttachRequest) { r.Ports = both })
	l.ErrorIs(err, errdefs.ErrConflict, "attach")
	namesPort(l, err, "18085")
	g := l.attach(n, port(18086, 80, network.TCP), port(18085, 80, network.UDP))
	g.serve("tcp4", ":80", "g")
	(*netNS)(nil).reaches(l.T, "the host", "tcp4", "127.0.0.1:18086", "g")
}

func namesPort(l *netLab, err error, port string) {
	if !strings.Contains(err.Error(), port) {
		l.Fatalf("the message does not name port %s: %v", port, err)
	}
}

package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netNS is a network namespace of the suite's own, pinned by a bind mount as
// the core pins those of containers. A nil one stands for the host, which is
// the namespace of the process that runs the suite.
type netNS struct {
	t    *T
	path string
}

// newNetNS makes a namespace with its loopback interface up.
func newNetNS(t *T) *netNS {
	ns := &netNS{t: t, path: filepath.Join(t.TempDir(), "netns")}
	t.NoError(os.WriteFile(ns.path, nil, 0o600), "make a network namespace")
	t.NoError(onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := linkUp("lo"); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", ns.path, "", unix.MS_BIND, "")
	}), "make a network namespace")
	t.Cleanup(ns.unpin)
	return ns
}

// unpin removes the namespace as soon as no socket of it is left.
func (ns *netNS) unpin() {
	err := unix.Unmount(ns.path, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		ns.t.Errorf("unpin network namespace: %w", err)
	}
}

// do runs f inside.
func (ns *netNS) do(f func() error) error {
	if ns == nil {
		return f()
	}
	return onThread(func() error {
		fd, err := unix.Open(ns.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Setns(fd, unix.CLONE_NEWNET)
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return err
		}
		return f()
	})
}

// onThread runs f on a thread that ends with it, since f changes the thread's
// namespace.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

func linkUp(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return netlink.LinkSetUp(l)
}

// serve answers on a port inside: every TCP connection and every UDP datagram
// gets "<greeting> <address of the peer>\n".
func (ns *netNS) serve(network, addr, greeting string) {
	t := ns.t
	if strings.HasPrefix(network, "udp") {
		var c net.PacketConn
		t.NoError(ns.do(func() (err error) {
			c, err = (&net.ListenConfig{}).ListenPacket(t.ctx, network, addr)
			return err
		}), "listen on "+addr)
		t.Cleanup(func() { closeIgnoring(c.Close) })
		go echo(c, greeting)
		return
	}
	l, err := ns.listen(t.ctx, network, addr)
	t.NoError(err, "listen on "+addr)
	t.Cleanup(func() { closeIgnoring(l.Close) })
	go greet(l, greeting)
}

func (ns *netNS) listen(ctx context.Context, network, addr string) (l net.Listener, err error) {
	err = ns.do(func() error {
		l, err = (&net.ListenConfig{}).Listen(ctx, network, addr)
		return err
	})
	return l, err
}

func greet(l net.Listener, greeting string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(c, "%s %s\n", greeting, c.RemoteAddr()); err == nil {
			closeIgnoring(c.Close)
		}
	}
}

func echo(c net.PacketConn, greeting string) {
	buf := make([]byte, 1500)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		if _, err := c.WriteTo(fmt.Appendf(nil, "%s %s\n", greeting, from), from); err != nil {
			return
		}
	}
}

// closeIgnoring closes something of which no data is expected any more.
func closeIgnoring(closer func() error) {
	if err := closer(); err != nil {
		return
	}
}

// Time that a connection may take, and that one that must fail is waited for.
const (
	patience   = 5 * time.Second
	impatience = 250 * time.Millisecond
)

// call connects from inside and returns the server's greeting and the address
// that the server saw.
func (ns *netNS) call(ctx context.Context, network, addr string, wait time.Duration) (greeting string, seen netip.Addr, err error) {
	err = ns.do(func() error {
		c, err := (&net.Dialer{Timeout: wait}).DialContext(ctx, network, addr)
		if err != nil {
			return err
		}
		defer closeIgnoring(c.Close)
		if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if strings.HasPrefix(network, "udp") {
			if _, err := c.Write([]byte("?\n")); err != nil {
				return err
			}
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return err
		}
		word, peer, _ := strings.Cut(strings.TrimSpace(line), " ")
		ap, err := netip.ParseAddrPort(peer)
		greeting, seen = word, ap.Addr().Unmap()
		return err
	})
	return greeting, seen, err
}

// reaches demands that a server with this greeting answers, and returns the
// address that it saw.
func (ns *netNS) reaches(t *T, from, network, addr, greeting string) netip.Addr {
	got, seen, err := ns.call(t.ctx, network, addr, patience)
	if err != nil || got != greeting {
		t.Fatalf("%s calls %s/%s: got %q, %v; want %q", from, addr, network, got, err, greeting)
	}
	return seen
}

// fails demands that nobody answers over TCP.
func (ns *netNS) fails(t *T, from, addr string) {
	if got, _, err := ns.call(t.ctx, "tcp4", addr, impatience); err == nil {
		t.Fatalf("%s calls %s: %q answered; want no answer", from, addr, got)
	}
}

// eventually repeats check for at most wait, until it succeeds.
func eventually(t *T, wait time.Duration, what string, check func() error) {
	until := time.Now().Add(wait)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s: not so after %s: %w", what, wait, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// neighbour is another host, wired to ours.
type neighbour struct {
	*netNS
	// addr is its address, host ours on the wire.
	addr, host netip.Addr
}

// newNeighbour makes another host whose default route leads to ours.
func newNeighbour(t *T) neighbour {
	n := neighbour{netNS: newNetNS(t), addr: netip.MustParseAddr("203.0.113.2"), host: netip.MustParseAddr("203.0.113.1")}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "confwire0"
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "wire0"}
	t.NoError(netlink.LinkAdd(pair), "wire a neighbour")
	t.Cleanup(func() {
		if err := netlink.LinkDel(pair); err != nil {
			t.Errorf("remove the neighbour's wire: %w", err)
		}
	})
	peer, err := netlink.LinkByName("wire0")
	t.NoError(err, "find the neighbour's end")
	fd, err := unix.Open(n.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	t.NoError(err, "open the neighbour's namespace")
	t.NoError(errors.Join(netlink.LinkSetNsFd(peer, fd), unix.Close(fd)), "move the neighbour's end")
	t.NoError(configure("confwire0", n.host), "configure our end")
	t.NoError(n.do(func() error {
		if err := configure("wire0", n.addr); err != nil {
			return err
		}
		l, err := netlink.LinkByName("wire0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: n.host.AsSlice()})
	}), "configure the neighbour's end")
	return n
}

func configure(link string, a netip.Addr) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	return netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(24, 32)}})
}

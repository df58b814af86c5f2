package testkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace of the test's own. It is gone when the test
// and all processes in it have ended.
type Namespace struct {
	file   *os.File
	before func(*exec.Cmd) error
}

// NewNamespace makes a namespace with its loopback up and a link "ext0"
// with address 198.51.100.1/24 (a veth whose other end leads nowhere), so that the host has an address besides
// loopback and a default route.
func NewNamespace(tb testing.TB) *Namespace {
	tb.Helper()
	ns := &Namespace{}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		ns.file = f
		return setUpLinks()
	})
	if err != nil {
		tb.Fatalf("make a network namespace: %v", err)
	}
	tb.Cleanup(func() {
		if err := ns.file.Close(); err != nil {
			tb.Error(err)
		}
	})
	return ns
}

func setUpLinks() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	ext := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "ext0"}, PeerName: "ext1"}
	if err := netlink.LinkAdd(ext); err != nil {
		return err
	}
	peer, err := netlink.LinkByName("ext1")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(peer); err != nil {
		return err
	}
	addr, err := netlink.ParseAddr("198.51.100.1/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(ext, addr); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(ext); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: ext.Index, Gw: net.IPv4(198, 51, 100, 254)})
}

// Do runs f on a thread within the namespace. f must not start goroutines that
// need the namespace.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// Start starts a command within the namespace.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	return n.Do(func() error {
		if n.before != nil {
			if err := n.before(cmd); err != nil {
				return err
			}
		}
		return cmd.Start()
	})
}

// Before has f called on the thread that is about to start a command.
func (n *Namespace) Before(f func(*exec.Cmd) error) { n.before = f }

// Path is the namespace's file, for as long as this process lives.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Connect lays a wire (a veth pair) to another namespace. The ends are named
// and have the addresses given, in CIDR notation.
func (n *Namespace) Connect(other *Namespace, name, address, otherAddress string) error {
	err := n.Do(func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(other.file.Fd())}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("veth %s: %w", name, err)
		}
		return setAddress(name, address)
	})
	if err != nil {
		return err
	}
	return other.Do(func() error { return setAddress(name, otherAddress) })
}

func setAddress(link, address string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, addr), netlink.LinkSetUp(l))
}

// DialContext connects from within the namespace.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.Do(func() error {
		// With a literal address the dialer stays on this thread.
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// onThread runs f on a locked thread that ends with it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		done <- f()
	}()
	return <-done
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/network"
)

// digits are unlikely to have been used in the same namespace: benchmarks run
// several times.
func digits() string { return fmt.Sprint(time.Now().UnixNano() % 1e9) }

// pinned makes a namespace and returns its path.
func pinned(b testing.TB) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "ns")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- errors.Join(unix.Unshare(unix.CLONE_NEWNET), unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""))
	}()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

func within(b testing.TB, path string, f func() error) {
	b.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Setns(fd, unix.CLONE_NEWNET), unix.Close(fd), f())
		}
		done <- err
	}()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// attachDetach measures one attachment and its end, with ports of others
// present. The figures are means of the answers' times; links are deleted in
// between, outside the time.
func attachDetach(b *testing.B, firewall string, present, publish int) {
	if !conformance.Isolated(b) {
		return
	}
	ctx := context.Background()
	s, err := conformance.Direct(ctx, newDriver, conformance.TestConfig(b, fmt.Sprintf(`{"firewall": %q}`, firewall)))
	d := conformance.Opened(b, s, err).Driver()
	b.Cleanup(func() {
		if err := d.Collect(ctx, nil, nil); err != nil {
			b.Error(err)
		}
	})
	n := network.Network{ID: "n", Options: map[string]string{"com.docker.network.bridge.name": "bench" + digits()}}
	if _, err := d.EnsureNetwork(ctx, n); err != nil {
		b.Fatal(err)
	}
	others := network.AttachRequest{Endpoint: "others", Network: "n", NetNS: pinned(b), IfName: "eth0", Ports: ports(20000, present)}
	if _, err := d.Attach(ctx, others); err != nil {
		b.Fatal(err)
	}
	r := network.AttachRequest{Network: "n", NetNS: pinned(b), IfName: "eth0", DefaultRoute: true, Ports: ports(10000, publish)}
	var attach, detach time.Duration
	for i := range b.N {
		r.Endpoint = network.EndpointID(fmt.Sprintf("e%d", i))
		start := time.Now()
		if _, err := d.Attach(ctx, r); err != nil {
			b.Fatal(err)
		}
		attach += time.Since(start)
		start = time.Now()
		if err := d.Detach(ctx, r.Endpoint); err != nil {
			b.Fatal(err)
		}
		detach += time.Since(start)
		waitGone(b, r.NetNS)
	}
	b.ReportMetric(float64(attach.Microseconds())/float64(b.N), "µs/attach")
	b.ReportMetric(float64(detach.Microseconds())/float64(b.N), "µs/detach")
}

func waitGone(b *testing.B, ns string) {
	within(b, ns, func() error {
		for {
			_, err := netlink.LinkByName("eth0")
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				return nil
			}
			if err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	})
	// The other end's deletion holds the kernel's network lock for longer.
	time.Sleep(50 * time.Millisecond)
}

func ports(from, n int) []network.Port {
	var out []network.Port
	for i := range n {
		out = append(out, network.Port{Protocol: network.TCP, HostPort: uint16(from + i), ContainerPort: 80})
	}
	return out
}

func BenchmarkAttachWithoutPorts(b *testing.B)                 { attachDetach(b, "nftables", 0, 0) }
func BenchmarkAttachOnePortNftables(b *testing.B)              { attachDetach(b, "nftables", 0, 1) }
func BenchmarkAttachOnePortAmong500Nftables(b *testing.B)      { attachDetach(b, "nftables", 500, 1) }
func BenchmarkAttachOnePortIptables(b *testing.B)              { attachDetach(b, "iptables", 0, 1) }
func BenchmarkAttachOnePortAmong500Iptables(b *testing.B)      { attachDetach(b, "iptables", 500, 1) }
func BenchmarkConnectThroughPortNftables(b *testing.B)         { connects(b, "nftables", 0, true) }
func BenchmarkConnectThroughPortAmong500Nftables(b *testing.B) { connects(b, "nftables", 500, true) }
func BenchmarkConnectThroughPortIptables(b *testing.B)         { connects(b, "iptables", 0, true) }
func BenchmarkConnectThroughPortAmong500Iptables(b *testing.B) { connects(b, "iptables", 500, true) }
func BenchmarkConnectToContainer(b *testing.B)                 { connects(b, "nftables", 0, false) }

// connects measures a connection, one byte and its end, from the host to a
// container, through 127.0.0.1 and a published port or to its own address.
func connects(b *testing.B, firewall string, present int, published bool) {
	if !conformance.Isolated(b) {
		return
	}
	ctx := context.Background()
	s, err := conformance.Direct(ctx, newDriver, conformance.TestConfig(b, fmt.Sprintf(`{"firewall": %q}`, firewall)))
	d := conformance.Opened(b, s, err).Driver()
	b.Cleanup(func() {
		if err := d.Collect(ctx, nil, nil); err != nil {
			b.Error(err)
		}
	})
	n := network.Network{ID: "n", Options: map[string]string{"com.docker.network.bridge.name": "bench" + digits()}}
	if _, err := d.EnsureNetwork(ctx, n); err != nil {
		b.Fatal(err)
	}
	others := network.AttachRequest{Endpoint: "others", Network: "n", NetNS: pinned(b), IfName: "eth0", Ports: ports(20000, present)}
	if _, err := d.Attach(ctx, others); err != nil {
		b.Fatal(err)
	}
	r := network.AttachRequest{Endpoint: "e", Network: "n", NetNS: pinned(b), IfName: "eth0", Ports: ports(30000, 1)}
	a, err := d.Attach(ctx, r)
	if err != nil {
		b.Fatal(err)
	}
	var l net.Listener
	within(b, r.NetNS, func() (err error) {
		l, err = net.Listen("tcp4", ":80")
		return err
	})
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte{1})
			c.Close()
		}
	}()
	addr := "127.0.0.1:30000"
	if !published {
		addr = net.JoinHostPort(a.Result.IPs[0].Address.IP.String(), "80")
	}
	buf := make([]byte, 2)
	for b.Loop() {
		c, err := net.Dial("tcp4", addr)
		if err != nil {
			b.Fatal(err)
		}
		c.Read(buf)
		c.Close()
	}
}

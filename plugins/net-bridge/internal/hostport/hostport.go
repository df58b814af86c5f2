// Package hostport reserves ports of the host. A reservation is a socket that
// is bound and does not listen, so that no other process can take the port
// while the kernel's rules forward it, and a connection that slips past the
// rules is refused.
package hostport

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/network"
)

// Range is a range of ports, both ends included.
type Range struct{ First, Last uint16 }

// Table holds all reservations of the driver. It is safe for concurrent use.
type Table struct {
	ephemeral Range

	mu     sync.Mutex
	next   uint16                          // guarded by mu: where the search for a free port goes on
	owners map[network.EndpointID][]holder // guarded by mu
}

type holder struct {
	port    network.Port
	sockets sockets
}

// NewTable makes an empty table. Random ports come from ephemeral.
func NewTable(ephemeral Range) *Table {
	return &Table{ephemeral: ephemeral, next: ephemeral.First, owners: map[network.EndpointID][]holder{}}
}

// KernelRange reads the range that the kernel takes local ports from, as
// Docker does for random ports.
func KernelRange() (Range, error) {
	const path = "/proc/sys/net/ipv4/ip_local_port_range"
	data, err := os.ReadFile(path)
	if err != nil {
		return Range{}, err
	}
	f := strings.Fields(string(data))
	if len(f) != 2 {
		return Range{}, fmt.Errorf("%s: want two numbers, have %q", path, data)
	}
	return ParseRange(f[0] + "-" + f[1])
}

// ParseRange reads "first-last".
func ParseRange(s string) (Range, error) {
	a, b, _ := strings.Cut(s, "-")
	first, err1 := strconv.ParseUint(a, 10, 16)
	last, err2 := strconv.ParseUint(b, 10, 16)
	if err1 != nil || err2 != nil || first == 0 || last < first {
		return Range{}, fmt.Errorf("port range %q: want first-last such as 49153-65535: %w", s, errdefs.ErrInvalidArgument)
	}
	return Range{First: uint16(first), Last: uint16(last)}, nil
}

// Reserve takes all ports for owner or none, and returns them with host ports
// filled in. A port in use is ErrConflict.
func (t *Table) Reserve(owner network.EndpointID, want []network.Port) ([]network.Port, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var got []holder
	for _, p := range want {
		h, err := t.reserve(p, got)
		if err != nil {
			return nil, errors.Join(err, closeAll(got))
		}
		got = append(got, h)
	}
	if len(got) > 0 {
		t.owners[owner] = append(t.owners[owner], got...)
	}
	return ports(got), nil
}

// Held returns what owner has.
func (t *Table) Held(owner network.EndpointID) []network.Port {
	t.mu.Lock()
	defer t.mu.Unlock()
	return ports(t.owners[owner])
}

// Release gives back all ports of owner.
func (t *Table) Release(owner network.EndpointID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := closeAll(t.owners[owner])
	delete(t.owners, owner)
	return err
}

func ports(hs []holder) []network.Port {
	var out []network.Port
	for _, h := range hs {
		out = append(out, h.port)
	}
	return out
}

func closeAll(hs []holder) error {
	var errs []error
	for _, h := range hs {
		errs = append(errs, h.sockets.close())
	}
	return errors.Join(errs...)
}

// reserve finds a port for p, which may ask for one, a range, or any.
func (t *Table) reserve(p network.Port, also []holder) (holder, error) {
	switch {
	case p.HostPort == 0:
		return t.search(p, t.ephemeral, &t.next, also)
	case p.HostPortEnd > p.HostPort:
		from := p.HostPort
		return t.search(p, Range{p.HostPort, p.HostPortEnd}, &from, also)
	default:
		return t.take(p, p.HostPort, also)
	}
}

// search tries every port of r once, beginning at *from.
func (t *Table) search(p network.Port, r Range, from *uint16, also []holder) (holder, error) {
	var last error
	for range int(r.Last-r.First) + 1 {
		port := *from
		if *from++; *from > r.Last || *from < r.First {
			*from = r.First
		}
		h, err := t.take(p, port, also)
		if err == nil || !errdefs.IsConflict(err) {
			return h, err
		}
		last = err
	}
	return holder{}, fmt.Errorf("all ports from %d to %d are taken: %w", r.First, r.Last, last)
}

func (t *Table) take(p network.Port, port uint16, also []holder) (holder, error) {
	p.HostPort, p.HostPortEnd = port, 0
	clash := func(h holder) bool { return clashes(h.port, p) }
	if slices.ContainsFunc(also, clash) {
		return holder{}, allocated(p)
	}
	for _, hs := range t.owners {
		if slices.ContainsFunc(hs, clash) {
			return holder{}, allocated(p)
		}
	}
	s, err := hold(p)
	return holder{port: p, sockets: s}, err
}

func clashes(a, b network.Port) bool {
	return a.Protocol == b.Protocol && a.HostPort == b.HostPort && overlap(a.HostIP, b.HostIP)
}

// overlap says whether two host addresses, zero for all of both families,
// have one in common.
func overlap(a, b netip.Addr) bool {
	if !a.IsValid() || !b.IsValid() {
		return true
	}
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

// shown is the address as Docker's messages show it.
func shown(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv4Unspecified()
	}
	return a
}

func allocated(p network.Port) error {
	//nolint:staticcheck // Docker's text, which people search for
	return fmt.Errorf("Bind for %s failed: port is already allocated: %w", netip.AddrPortFrom(shown(p.HostIP), p.HostPort), errdefs.ErrConflict)
}

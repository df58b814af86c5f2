package hostport

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/network"
)

// sockets hold one port: one for IPv4, one for IPv6 when all addresses are
// meant.
type sockets []int

// close gives the port back. A program that is being started holds copies of
// all descriptors until it runs, and with them the port: the lock waits for it.
func (s sockets) close() error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var errs []error
	for _, fd := range s {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// hold binds the port. A port in use is ErrConflict, an address that the host
// does not have ErrInvalidArgument.
func hold(p network.Port) (sockets, error) {
	addrs := []netip.Addr{shown(p.HostIP)}
	if !p.HostIP.IsValid() {
		addrs = append(addrs, netip.IPv6Unspecified())
	}
	var held sockets
	for _, a := range addrs {
		fd, err := bind(p.Protocol, netip.AddrPortFrom(a, p.HostPort))
		if absent(err) && (a.Is6() || p.Protocol == network.SCTP) {
			continue // a kernel without IPv6 or SCTP sockets has nobody else to fear
		}
		if err != nil {
			return nil, errors.Join(explain(p, a, err), held.close())
		}
		held = append(held, fd)
	}
	return held, nil
}

func absent(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT) ||
		errors.Is(err, unix.ESOCKTNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

func explain(p network.Port, a netip.Addr, err error) error {
	at := fmt.Sprintf("%s/%s", netip.AddrPortFrom(a, p.HostPort), p.Protocol)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("failed to bind host port %s: address already in use: %w", at, errdefs.ErrConflict)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("failed to bind host port %s: cannot assign requested address, the host has no such address: %w", at, errdefs.ErrInvalidArgument)
	default:
		return fmt.Errorf("failed to bind host port %s: %w", at, err)
	}
}

func bind(proto network.Protocol, at netip.AddrPort) (int, error) {
	family, typ, ipproto := unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	switch proto {
	case network.UDP:
		typ, ipproto = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case network.SCTP:
		ipproto = unix.IPPROTO_SCTP
	default:
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, ipproto)
	if err != nil {
		return -1, err
	}
	if err := setUp(fd, proto, at); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func setUp(fd int, proto network.Protocol, at netip.AddrPort) error {
	if at.Addr().Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
		return bindTo(fd, proto, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
	}
	return bindTo(fd, proto, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
}

// bindTo binds and, for TCP, gets past sockets of the port's former user that
// are in TIME_WAIT: SO_REUSEADDR lets the bind succeed; a moment of listening
// makes the kernel refuse the port to sockets that set SO_REUSEADDR too
// (inet_csk_get_port checks again at listen); shutdown ends the listening and
// keeps the port.
func bindTo(fd int, proto network.Protocol, sa unix.Sockaddr) error {
	if proto != network.TCP {
		return unix.Bind(fd, sa)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return err
	}
	if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
}

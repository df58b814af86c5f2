package hijack

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitHangup waits until a peer that has ended its input is gone altogether,
// or until the connection's read deadline. A unix socket says so with POLLHUP;
// TCP does not, there the next write finds out. The error is the deadline's,
// or that of a connection closed meanwhile.
func awaitHangup(c net.Conn) error {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = wrapped.NetConn()
	}
	raw, ok := rawConn(c)
	if !ok {
		return nil
	}
	return raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		return err != nil && err != unix.EINTR || n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
}

func rawConn(c any) (syscall.RawConn, bool) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil, false
	}
	raw, err := s.SyscallConn()
	return raw, err == nil
}

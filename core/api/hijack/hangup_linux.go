package hijack

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitHangup waits until a peer that has ended its input is gone altogether,
// or until the connection's read deadline. A unix socket says so with POLLHUP.
// Under TLS the input ends with an alert, and the peer is gone with the end of
// the connection below. TCP alone does not tell, there the next write finds
// out. The error is the deadline's, or that of a connection closed meanwhile.
func awaitHangup(c net.Conn) error {
	const gone = unix.POLLHUP | unix.POLLERR
	mask := int16(gone)
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c, mask = wrapped.NetConn(), gone|unix.POLLRDHUP
	}
	raw, ok := rawConn(c)
	if !ok {
		return nil
	}
	return raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: mask}}
		n, err := unix.Poll(p, 0)
		return err != nil && !errors.Is(err, unix.EINTR) || n > 0 && p[0].Revents&mask != 0
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

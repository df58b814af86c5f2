package hijack

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// spliceMax is the most that one system call moves; the kernel stops earlier,
// at the pipe's size.
const spliceMax = 1 << 20

// splice copies until src ends without the bytes entering this process: 1.4 to
// 2 times as fast between unix sockets as reading and writing. net.Conn's own
// use of splice(2) leaves out unix socket to unix socket, which is the usual
// case here. It is not handled, and nothing has happened, when one of the
// sides is no socket of the kernel's, such as a TLS connection.
func splice(dst, src any) (handled bool, readErr, writeErr error) {
	to, okTo := socket(dst)
	from, okFrom := socket(src)
	if !okTo || !okFrom {
		return false, nil, nil
	}
	var pipe [2]int
	if made := unix.Pipe2(pipe[:], unix.O_CLOEXEC) == nil; !made {
		return false, nil, nil // copied instead
	}
	readErr, writeErr = through(pipe[0], pipe[1], to, from)
	return true, readErr, errors.Join(writeErr, unix.Close(pipe[0]), unix.Close(pipe[1]))
}

// through moves all bytes from one socket to another by way of a pipe, which
// is empty before each round.
func through(r, w int, to, from syscall.RawConn) (readErr, writeErr error) {
	for {
		n, err := move(from.Read, func(fd int) (int64, error) {
			return unix.Splice(fd, nil, w, nil, spliceMax, unix.SPLICE_F_NONBLOCK)
		})
		if n == 0 || err != nil {
			return err, nil
		}
		for n > 0 {
			m, err := move(to.Write, func(fd int) (int64, error) {
				return unix.Splice(r, nil, fd, nil, int(n), unix.SPLICE_F_NONBLOCK)
			})
			if err != nil {
				return nil, err
			}
			n -= m
		}
	}
}

// move calls f whenever the socket is ready until it does something.
func move(ready func(func(uintptr) bool) error, f func(fd int) (int64, error)) (n int64, err error) {
	waitErr := ready(func(fd uintptr) bool {
		for {
			n, err = f(int(fd))
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	return n, errors.Join(waitErr, os.NewSyscallError("splice", err))
}

func socket(c any) (syscall.RawConn, bool) {
	switch c := c.(type) {
	case *net.UnixConn:
		return rawConn(c)
	case *net.TCPConn:
		return rawConn(c)
	}
	return nil, false
}

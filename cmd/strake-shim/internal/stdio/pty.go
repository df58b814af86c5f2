package stdio

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Console waits on a socket for the pty master that the OCI runtime sends.
type Console struct {
	// Path is what the runtime is told.
	Path     string
	listener *os.File
	got      chan received
}

type received struct {
	f   *os.File
	err error
}

// NewConsole listens at path.
func NewConsole(path string) (*Console, error) {
	l, err := Listen(path)
	if err != nil {
		return nil, err
	}
	c := &Console{Path: path, listener: l, got: make(chan received, 1)}
	go func() {
		f, err := receiveFile(l)
		c.got <- received{f, err}
	}()
	return c, nil
}

// Master returns the master. The runtime has sent it before it ended; so there
// is little to wait for.
func (c *Console) Master() (*os.File, error) {
	err := c.listener.SetReadDeadline(after(10 * time.Second))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	r := <-c.got
	return r.f, errors.Join(r.err, c.remove())
}

// Close gives the console up.
func (c *Console) Close() error {
	err := c.remove()
	if r := <-c.got; r.f != nil {
		err = errors.Join(err, r.f.Close())
	}
	return err
}

func (c *Console) remove() error {
	return errors.Join(c.listener.Close(), os.Remove(c.Path))
}

func receiveFile(l *os.File) (*os.File, error) {
	conn, err := Accept(l)
	if err != nil {
		return nil, err
	}
	fd, err := receiveFD(conn)
	if err = errors.Join(err, conn.Close()); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, closeAfter(fd, err)
	}
	return os.NewFile(uintptr(fd), "pty"), nil
}

func receiveFD(conn *os.File) (int, error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var name [4096]byte
	oob := make([]byte, unix.CmsgSpace(4))
	var n int
	var rerr error
	err = rc.Read(func(fd uintptr) bool {
		_, n, _, _, rerr = unix.Recvmsg(int(fd), name[:], oob, unix.MSG_CMSG_CLOEXEC)
		return rerr != unix.EAGAIN
	})
	if err = errors.Join(err, rerr); err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return -1, err
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) > 0 {
			return fds[0], nil
		}
	}
	return -1, errors.New("the runtime sent no descriptor")
}

// resize sets a terminal's size in cells.
func resize(tty *os.File, width, height uint16) error {
	rc, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = rc.Control(func(fd uintptr) {
		serr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	})
	return errors.Join(err, serr)
}

package bulk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/internal/peercred"
)

// MaxPath is the longest path of a unix socket, in bytes (sun_path without its
// final zero).
const MaxPath = 107

// nameLen is the length of the names that Listen makes.
const nameLen = len("bulk-") + 26

// CheckDir returns ErrInvalidArgument when sockets in dir would have too long
// a path.
func CheckDir(dir string) error {
	if n := len(dir) + 1 + nameLen; n > MaxPath {
		return fmt.Errorf("socket directory %s: too long by %d bytes for a unix socket: choose a shorter run directory: %w",
			dir, n-MaxPath, errdefs.ErrInvalidArgument)
	}
	return nil
}

// Listener waits for the one connection of a transfer.
type Listener struct {
	l *net.UnixListener
}

// Listen makes a socket with a random name in dir.
func Listen(dir string) (*Listener, error) {
	if err := CheckDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "bulk-"+rand.Text())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("stream socket %s: listen: %w", path, err)
	}
	// The directory is 0700; this is for one that somebody opened up.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("stream socket: %w", err), l.Close())
	}
	return &Listener{l}, nil
}

// Path is what the other side dials.
func (l *Listener) Path() string { return l.l.Addr().String() }

// Accept returns the first connection of a permitted peer. It fails when the
// listener is closed.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.l.Accept()
	if err != nil {
		return nil, err
	}
	if err := peercred.Check(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	enlarge(c)
	return c, nil
}

// Close removes the socket. Closing again does nothing.
func (l *Listener) Close() error {
	if err := l.l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Dial connects to a Listener's path.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	if err := peercred.Check(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	enlarge(c)
	return c, nil
}

// enlarge asks for a send buffer of a whole frame. It is a matter of speed
// alone: without CAP_NET_ADMIN the default stays.
func enlarge(c net.Conn) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // see above
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, MaxFrame)
	})
}

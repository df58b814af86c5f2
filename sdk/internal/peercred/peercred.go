// Package peercred secures connections between host and driver: unix sockets
// whose other end must belong to the same user, or to root. It takes the place
// of TLS, which would cost some 60 ms a launch.
package peercred

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// Check returns ErrPermissionDenied unless the process at the other end of a
// unix socket runs as this process's user or root.
func Check(c net.Conn) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("peer %s: not a unix socket: %w", c.RemoteAddr(), errdefs.ErrPermissionDenied)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return fmt.Errorf("peer: get credentials: %w", err)
	}
	return allow(cred.Uid, cred.Pid)
}

func allow(uid uint32, pid int32) error {
	if uid == 0 || int(uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("peer pid %d: user %d may not connect: %w", pid, uid, errdefs.ErrPermissionDenied)
}

// Credentials are gRPC transport credentials that Check both ends. accepted,
// when not nil, is called on the server's side for each connection let in.
type Credentials struct {
	Accepted func()
}

var _ credentials.TransportCredentials = (*Credentials)(nil)

type info struct{ credentials.CommonAuthInfo }

func (info) AuthType() string { return "peercred" }

func auth() credentials.AuthInfo {
	return info{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
}

// ClientHandshake checks the server.
func (*Credentials) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := Check(c); err != nil {
		return nil, nil, err
	}
	return c, auth(), nil
}

// ServerHandshake checks the client.
func (p *Credentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := Check(c); err != nil {
		return nil, nil, err
	}
	if p.Accepted != nil {
		p.Accepted()
	}
	return c, auth(), nil
}

// Info names the protocol.
func (*Credentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

// Clone returns the receiver, which is never changed.
func (p *Credentials) Clone() credentials.TransportCredentials { return p }

// OverrideServerName does nothing: sockets have no names to verify.
func (*Credentials) OverrideServerName(string) error { return nil }

package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/config"
)

// listen opens all addresses of the API, or none.
func listen(ctx context.Context, c *config.Config, log hclog.Logger) (all []net.Listener, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(all))
		}
	}()
	for _, h := range c.APIHosts() {
		scheme, addr, _ := strings.Cut(h, "://")
		var l net.Listener
		if scheme == "unix" {
			l, err = listenUnix(ctx, addr, c.SocketGroup, log)
		} else {
			l, err = listenTCP(ctx, addr, c, log)
		}
		if err != nil {
			return all, fmt.Errorf("listen on %s: %w", h, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func closeAll(all []net.Listener) (err error) {
	for _, l := range all {
		err = errors.Join(err, l.Close())
	}
	return err
}

// listenUnix makes a socket that root and the group may use. A socket that
// nobody listens on any more is replaced.
func listenUnix(ctx context.Context, path, group string, log hclog.Logger) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, err
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	gid := 0
	if g, err := user.LookupGroup(group); err == nil {
		gid, err = strconv.Atoi(g.Gid)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
	} else if group != "" {
		log.Info("only root may use the socket: there is no such group", "socket", path, "group", group, "mend", "groupadd "+group)
	}
	if err := errors.Join(os.Chown(path, 0, gid), os.Chmod(path, 0o660)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func removeStale(ctx context.Context, path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket: remove it: %w", path, errdefs.ErrAlreadyExists)
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("another process listens there: stop it: %w", errdefs.ErrUnavailable), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

func listenTCP(ctx context.Context, addr string, c *config.Config, log hclog.Logger) (net.Listener, error) {
	t, err := tlsConfig(c.TLS)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	switch {
	case t == nil || t.ClientAuth == tls.NoClientCert:
		log.Warn("everybody who reaches this address is root on this machine (allow_unauthenticated_tcp)", "address", addr)
	}
	if t == nil {
		return l, nil
	}
	return tls.NewListener(l, t), nil
}

// tlsConfig is nil without certificates. They are read anew for every
// connection, so that renewed ones count at once.
func tlsConfig(c config.TLS) (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil
	}
	t, err := readTLS(c)
	if err != nil {
		return nil, err
	}
	t.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return readTLS(c) }
	return t, nil
}

func readTLS(c config.TLS) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: cert %s and key %s: %w", c.Cert, c.Key, err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if c.CA == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("tls: ca: %w", err)
	}
	t.ClientCAs, t.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !t.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls: ca %s holds no certificate: %w", c.CA, errdefs.ErrInvalidArgument)
	}
	return t, nil
}

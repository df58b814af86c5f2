package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/config"
)

func quiet() hclog.Logger { return hclog.NewNullLogger() }

func TestSecondDaemonOnAStateDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	l, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(dir); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "in use by another straked") {
		t.Errorf("second lock: %v", err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	l, err = takeLock(dir)
	if err != nil {
		t.Fatalf("after the first has let go: %v", err)
	}
	if err := l.release(); err != nil {
		t.Error(err)
	}
}

// CVE-2021-41091: users of the host got at programs with the set-user-ID bit in
// containers' file systems.
func TestTheStateDirectoryIsClosedToOthersAlsoWhenItWasOpen(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "state")
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{fresh, open} {
		l, err := takeLock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.release(); err != nil {
			t.Error(err)
		}
		fi, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if mode := fi.Mode().Perm(); mode&0o027 != 0 {
			t.Errorf("mode %o: others may enter or the group may write", mode)
		}
	}
}

func TestStaleSocketIsReplacedAndALiveOneIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false) // as kill -9 does
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := listenUnix(t.Context(), path, "no-such-group-there", quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); fi.Mode().Perm() != 0o660 || st.Uid != 0 || st.Gid != 0 {
		t.Errorf("socket is %v %d:%d, want rw-rw---- 0:0", fi.Mode(), st.Uid, st.Gid)
	}
	if _, err := listenUnix(t.Context(), path, "", quiet()); !errdefs.IsUnavailable(err) {
		t.Errorf("a second listener: %v", err)
	}
}

func TestTheSocketIsItsGroupsToo(t *testing.T) {
	g, err := user.LookupGroupId("1") // any but root's
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := listenUnix(t.Context(), path, g.Name, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); fi.Mode().Perm() != 0o660 || st.Uid != 0 || st.Gid != 1 {
		t.Errorf("socket is %v %d:%d, want rw-rw---- 0:1", fi.Mode(), st.Uid, st.Gid)
	}
}

func TestAFileInTheSocketsPlaceIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(t.Context(), path, "", quiet()); !errdefs.IsAlreadyExists(err) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestListenOpensAllOrNone(t *testing.T) {
	dir := t.TempDir()
	c := config.Default()
	c.Hosts = []string{"unix://" + dir + "/a.sock", "unix://" + dir + "/nonexistent/\x00"}
	if _, err := listen(t.Context(), c, quiet()); err == nil {
		t.Fatal("an impossible address was opened")
	}
	if _, err := os.Stat(dir + "/a.sock"); !os.IsNotExist(err) {
		t.Errorf("the first socket is left: %v", err)
	}
}

// A tcp host demands a certificate of the CA, and renewed files count at once.
func TestTCPDemandsClientCertificates(t *testing.T) {
	dir := t.TempDir()
	ca := newCert(t, dir, "ca", nil)
	newCert(t, dir, "server", ca)
	client := newCert(t, dir, "client", ca)
	stranger := newCert(t, dir, "stranger", nil)
	c := config.Default()
	c.TLS = config.TLS{CA: dir + "/ca.pem", Cert: dir + "/server.pem", Key: dir + "/server-key.pem"}
	l, err := listenTCP(t.Context(), "127.0.0.1:0", c, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("x")) // completes the handshake
			conn.Close()
		}
	}()
	for _, tc := range []struct {
		name string
		cert *tls.Certificate
		ok   bool
	}{{"none", nil, false}, {"of a stranger", &stranger.tls, false}, {"of the CA", &client.tls, true}} {
		t.Run(tc.name, func(t *testing.T) {
			pool := x509.NewCertPool()
			pool.AddCert(ca.x509)
			cfg := &tls.Config{RootCAs: pool}
			if tc.cert != nil {
				cfg.Certificates = []tls.Certificate{*tc.cert}
			}
			conn, err := tls.Dial("tcp", l.Addr().String(), cfg)
			if err == nil {
				defer conn.Close()
				_, err = conn.Read(make([]byte, 1))
			}
			if (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := os.WriteFile(dir+"/ca.pem", []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tlsConfig(c.TLS); !errdefs.IsInvalidArgument(err) {
		t.Errorf("CA file without a certificate: %v", err)
	}
}

type cert struct {
	x509 *x509.Certificate
	key  *ecdsa.PrivateKey
	tls  tls.Certificate
}

// newCert writes name.pem and name-key.pem, signed by ca or by itself.
func newCert(t *testing.T, dir, name string, ca *cert) *cert {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: ca == nil, BasicConstraintsValid: true,
	}
	signer := &cert{x509: tmpl, key: key}
	if ca != nil {
		signer = ca
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer.x509, &key.PublicKey, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	for file, b := range map[string][]byte{name + ".pem": certPEM, name + "-key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, file), b, fs.FileMode(0o600)); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &cert{parsed, key, pair}
}

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/registry"
)

// authority signs certificates for the test's registries and their clients.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	tmpl := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kit authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = a.sign(&tmpl, "ca")
	return a
}

// sign writes <name>.pem and <name>-key.pem.
func (a *authority) sign(tmpl *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+"-key.pem", "PRIVATE KEY", keyDER)
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) leaf(name string) {
	a.t.Helper()
	a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, name)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTLS: one docker-registry with a certificate of a private authority, and
// one that wants client certificates too, reached by Docker's directories, by
// hosts.toml and not at all.
func TestTLS(t *testing.T) {
	if !conformance.Isolated(t) {
		return
	}
	a := newAuthority(t)
	a.leaf("server")
	a.leaf("client")
	tls := func(more string) string {
		return fmt.Sprintf("  tls:\n    certificate: %s\n    key: %s\n%s", a.file("server.pem"), a.file("server-key.pem"), more)
	}
	simple := dockerRegistry(t, "127.0.0.1:5443", tls(""))
	mutual := dockerRegistry(t, "127.0.0.1:5444", tls("    clientcas:\n      - "+a.file("ca.pem")+"\n"))
	ask := func(t *testing.T, d *Driver, host string) error {
		t.Helper()
		_, err := d.Resolve(t.Context(), registry.Repository{Host: host, Name: "app"}, "1")
		return err
	}
	reached := func(t *testing.T, err error) {
		t.Helper()
		if !errdefs.IsNotFound(err) { // the registry is empty, and says so
			t.Errorf("error is %v", err)
		}
	}
	t.Run("Docker's certs.d", func(t *testing.T) {
		dir := t.TempDir()
		for _, h := range []string{simple, mutual} {
			copyFile(t, a.file("ca.pem"), filepath.Join(dir, h, "ca.crt"))
		}
		copyFile(t, a.file("client.pem"), filepath.Join(dir, mutual, "client.cert"))
		copyFile(t, a.file("client-key.pem"), filepath.Join(dir, mutual, "client.key"))
		d := configure(t, `"certs_dir": "`+dir+`"`)
		reached(t, ask(t, d, simple))
		reached(t, ask(t, d, mutual))
	})
	t.Run("a missing key is named", func(t *testing.T) {
		dir := t.TempDir()
		copyFile(t, a.file("client.pem"), filepath.Join(dir, mutual, "client.cert"))
		err := ask(t, configure(t, `"certs_dir": "`+dir+`"`), mutual)
		if err == nil || !strings.Contains(err.Error(), "client.key") {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("containerd's hosts.toml, as a mirror, changed while running", func(t *testing.T) {
		dir := t.TempDir()
		d := configure(t, `"hosts_dir": "`+dir+`"`)
		file := filepath.Join(dir, "mirrored.example", "hosts.toml")
		write := func(text string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("server = \"https://" + mutual + "\"\nskip_verify = false\n")
		if err := ask(t, d, "mirrored.example"); !errdefs.IsUnavailable(err) {
			t.Errorf("without an authority: error is %v", err)
		}
		write(fmt.Sprintf("server = \"https://%s\"\nca = %q\nclient = [[%q, %q]]\n", mutual, a.file("ca.pem"), a.file("client.pem"), a.file("client-key.pem")))
		reached(t, ask(t, d, "mirrored.example"))
	})
	t.Run("verified although it is on loopback, when the configuration says so", func(t *testing.T) {
		dir := t.TempDir()
		copyFile(t, a.file("ca.pem"), filepath.Join(dir, simple, "own.pem"))
		if err := os.WriteFile(filepath.Join(dir, simple, "hosts.toml"), []byte("skip_verify = false\nserver = \"https://"+simple+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := ask(t, configure(t, `"hosts_dir": "`+dir+`"`), simple)
		if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("loopback is taken as Docker takes it, without verification", func(t *testing.T) {
		reached(t, ask(t, configure(t, ""), simple))
	})
}

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{}
	a.cert, a.key = a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate, self-signed when the authority has none yet.
func (a authority) sign(t *testing.T, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.Subject = pkix.Name{CommonName: "strake test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// write puts ca.pem, cert.pem and key.pem into a directory, as docker wants them.
func (a authority) write(t *testing.T, usage x509.ExtKeyUsage) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Raw},
		"key.pem":  {Type: "EC PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func tlsFlags(dir string) []string {
	return []string{"--tlsverify", "--tlscacert", dir + "/ca.pem", "--tlscert", dir + "/cert.pem", "--tlskey", dir + "/key.pem"}
}

func TestTheAPIOverTCPNeedsACertificateOfItsAuthority(t *testing.T) {
	ca := newAuthority(t)
	server, client := ca.write(t, x509.ExtKeyUsageServerAuth), ca.write(t, x509.ExtKeyUsageClientAuth)
	stranger := newAuthority(t).write(t, x509.ExtKeyUsageClientAuth)
	if err := os.WriteFile(filepath.Join(stranger, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	h := testkit.Start(t, testkit.WithArgs(append([]string{"--host", "tcp://127.0.0.1:2376"}, tlsFlags(server)...)...))
	ask := func(program string, certs string) testkit.Result {
		return h.Run(h.Command(program, append([]string{"-H", "tcp://127.0.0.1:2376"}, append(tlsFlags(certs), "version", "--format", "{{.Server.Os}}")...)...))
	}
	for _, program := range []string{testkit.DockerCLI(), testkit.Bin("strake")} {
		if r := ask(program, client); r.Code != 0 || r.Out() != "linux" {
			t.Errorf("%s with a good certificate: exit code %d, %q %s", filepath.Base(program), r.Code, r.Out(), r.Stderr)
		}
		if r := ask(program, stranger); r.Code == 0 {
			t.Errorf("%s with a stranger's certificate got an answer", filepath.Base(program))
		}
	}
	// A foreground process streams over TLS as over the socket.
	run := append([]string{"-H", "tcp://127.0.0.1:2376"}, append(tlsFlags(client), "run", "--rm", "busybox", "echo", "over tls")...)
	if r := h.Run(h.Command(testkit.DockerCLI(), run...)); r.Out() != "over tls" {
		t.Errorf("run over TLS: %q, %s", r.Out(), r.Stderr)
	}
}

func TestTCPWithoutTLSIsRefusedUnlessTheConfigSaysSoByName(t *testing.T) {
	h := testkit.New(t, testkit.WithArgs("--host", "tcp://127.0.0.1:2375"))
	if err := h.TryStart(); err == nil {
		t.Fatal("straked started on tcp without TLS")
	}
	if log := h.Log(); !strings.Contains(log, "allow_unauthenticated_tcp") {
		t.Errorf("the refusal does not name the way out:\n%s", log)
	}
	h.WriteConfig("allow_unauthenticated_tcp = true\n")
	h.Start()
	r := h.Run(h.Command(testkit.DockerCLI(), "-H", "tcp://127.0.0.1:2375", "version", "--format", "{{.Server.Os}}"))
	if r.Out() != "linux" {
		t.Errorf("version over tcp: %q, %s", r.Out(), r.Stderr)
	}
}

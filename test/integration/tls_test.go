package integration

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

func TestTheAPIOverTCPNeedsACertificateOfItsAuthority(t *testing.T) {
	ca := testkit.NewAuthority(t)
	server, client := ca.Write(t, x509.ExtKeyUsageServerAuth), ca.Write(t, x509.ExtKeyUsageClientAuth)
	stranger := testkit.NewAuthority(t).Write(t, x509.ExtKeyUsageClientAuth)
	if err := os.WriteFile(filepath.Join(stranger, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	h := testkit.Start(t, testkit.WithArgs(append([]string{"--host", "tcp://127.0.0.1:2376"}, testkit.TLSFlags(server)...)...))
	ask := func(program string, certs string) testkit.Result {
		return h.Run(h.Command(program, append([]string{"-H", "tcp://127.0.0.1:2376"}, append(testkit.TLSFlags(certs), "version", "--format", "{{.Server.Os}}")...)...))
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
	run := append([]string{"-H", "tcp://127.0.0.1:2376"}, append(testkit.TLSFlags(client), "run", "--rm", "busybox", "echo", "over tls")...)
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

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/registry"
)

// quick are options that wait for little and read no file of the machine.
const quick = `"backoff": "1ms", "auth_file": "/nonexistent", "hosts_dir": "/nonexistent", "certs_dir": "/nonexistent"`

// TestConformance runs the suite against Debian's docker-registry, with and
// without basic authentication, in a network namespace of its own.
func TestConformance(t *testing.T) {
	if !conformance.Isolated(t) {
		return
	}
	open := dockerRegistry(t, "127.0.0.1:5000", "")
	private := dockerRegistry(t, "127.0.0.1:5001", htpasswd(t))
	env := conformance.RegistryEnv{
		Registry: open, Mounts: true,
		Private: private, Credentials: registry.Credentials{Username: "user", Password: "pass-word"},
	}
	conformance.Ways[registry.Driver]{
		New:     func() registry.Driver { return &Driver{} },
		Package: ".",
		Config:  func(t testing.TB) driver.Config { return conformance.TestConfig(t, "{"+quick+"}") },
		Cases: func(s conformance.Subject[registry.Driver]) []conformance.Case {
			return conformance.RegistryCases(s, env)
		},
	}.RunTest(t)
}

// htpasswd writes the credentials user:pass-word.
func htpasswd(t testing.TB) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "htpasswd")
	const line = "user:$2a$04$dTcnlle5fdGyap5w7jzhpOCWooks4pWx9RVnrEOuMuu7HZj5J80YK\n" // bcrypt of "pass-word", cost 4
	if err := os.WriteFile(f, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	return "auth:\n  htpasswd:\n    realm: kit\n    path: " + f + "\n"
}

// dockerRegistry runs docker-registry on an address of the test's own network
// namespace. more is added to its configuration.
func dockerRegistry(t testing.TB, addr, more string) string {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nlog:\n  accesslog:\n    disabled: true\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: " + dir +
		"\n  delete:\n    enabled: true\nhttp:\n  addr: " + addr + "\n" + more
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // when a timeout ends the test
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	})
	waitFor(t, addr)
	return addr
}

// waitFor waits until something listens at addr.
func waitFor(t testing.TB, addr string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("docker-registry does not listen at %s: %v", addr, err)
		}
	}
}

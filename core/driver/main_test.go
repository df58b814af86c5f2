package driver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the misbehaving driver once for all tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "strake-host-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "strake-storage-test")
	cmd := exec.Command("go", "build", "-o", binary, "./testdata/testdriver")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as all programs
	if out, err := cmd.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	return m.Run()
}

// binary is the test driver's path.
var binary string

// fixture is a host with one storage driver and its directories.
type fixture struct {
	*Host
	t   testing.TB
	dir string
	bin string // the plugin directory
}

// newFixture makes a host for the driver that c names; change may alter its
// spec and its patience.
func newFixture(t testing.TB, c config.Driver, change func(*spec, *timing)) *fixture {
	t.Helper()
	dir, err := os.MkdirTemp("", "sh") //nolint:usetesting // short: it holds sockets
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(binary, filepath.Join(bin, "strake-storage-test")); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.StateDir, cfg.RunDir, cfg.PluginDirs = dir+"/state", dir+"/run", []string{bin}
	s := spec{kind: driver.Storage, name: c.InstanceName(), key: "storage", config: c, first: true}
	patient := patience()
	if change != nil {
		change(&s, &patient)
	}
	h := newHost(cfg, hclog.NewNullLogger(), []spec{s})
	h.timing = patient
	t.Cleanup(func() {
		h.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return &fixture{Host: h, t: t, dir: dir, bin: bin}
}

// startGood starts a host with the well-behaved test driver.
func startGood(t testing.TB, change func(*spec, *timing)) *fixture {
	t.Helper()
	f := newFixture(t, config.Driver{Driver: "test"}, change)
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// script puts an executable shell script into the plugin directory.
func (f *fixture) script(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.bin, name)
	// No test beside this one may fork while the file is open: its child
	// would hold it, and the kernel does not run a file that is written to.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// pid is the present process's.
func (f *fixture) pid() int {
	f.t.Helper()
	d, err := f.Driver(f.t.Context(), f.instances[0].spec.name)
	if err != nil {
		f.t.Fatal(err)
	}
	return d.Pid
}

// eventually waits for a condition; the time only bounds failure.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("in vain waited until %s", what)
}

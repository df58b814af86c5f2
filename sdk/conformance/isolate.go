package conformance

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// inside names the test that runs inside.
const inside = "STRAKE_CONFORMANCE_INSIDE"

// Isolated gives a test network and mount namespaces of its own, by running the
// test binary again inside them. It returns true inside, where the test is to do
// its work; outside it reports how that went and returns false.
func Isolated(t testing.TB) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		setUp(t)
		return true
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.timeout=2m"}
	if b, ok := t.(*testing.B); ok {
		args = []string{"-test.run=^$", "-test.bench=^" + b.Name() + "$"}
	}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("inside the namespace: %v", err)
	}
	return false
}

func setUp(t testing.TB) {
	t.Helper()
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("make mounts private: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatalf("set up lo: %v", err)
	}
}

package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/plugins/runtime-runc/internal/runc"
	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/runtime"
)

// libexec makes a directory with a strake-shim built from this tree.
func libexec(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(conformance.Build(t, "github.com/strakehq/strake/cmd/strake-shim"), filepath.Join(dir, "strake-shim")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConformance(t *testing.T) {
	programs := libexec(t)
	conformance.Ways[runtime.Driver]{
		New:     func() runtime.Driver { return runc.New(hclog.NewNullLogger()) },
		Package: "github.com/strakehq/strake/plugins/runtime-runc",
		Config: func(t testing.TB) driver.Config {
			c := conformance.TestConfig(t, `{"shim_cgroup": ""}`)
			c.Libexec = programs
			return c
		},
		Cases: func(s conformance.Subject[runtime.Driver]) []conformance.Case {
			return conformance.RuntimeCases(s, conformance.RuntimeEnv{KillMonitor: killShim})
		},
	}.RunTest(t)
}

// killShim kills the shim of a container.
func killShim(id runtime.ContainerID) error {
	for {
		pid, err := findShim(id)
		if err != nil {
			return err
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return err
		}
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		if err == nil {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		}
		return errors.Join(err, unix.Close(fd))
	}
}

func findShim(id runtime.ContainerID) (int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/cmdline")
		a := strings.Split(string(b), "\x00")
		if err == nil && len(a) >= 3 && a[0] == "strake-shim" && filepath.Base(a[2]) == string(id) {
			return strconv.Atoi(filepath.Base(d))
		}
	}
	return 0, fmt.Errorf("no shim of %s", id)
}

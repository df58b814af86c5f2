package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

func newDriver() runtime.Driver { return runc.New(hclog.NewNullLogger()) }

// TestConformance runs all cases on the Go value and on a binary that is killed
// between calls. Behind gRPC without kills, where little else can differ, it
// runs one of each sort, since every container costs a tenth of a second.
func TestConformance(t *testing.T) {
	programs, binary := libexec(t), conformance.Build(t, "github.com/strakehq/strake/plugins/runtime-runc")
	config := func(t *testing.T) driver.Config {
		c := conformance.TestConfig(t, `{"shim_cgroup": ""}`)
		c.Libexec = programs
		return c
	}
	for _, way := range []struct {
		name string
		all  bool
		open func(t *testing.T) (conformance.Subject[runtime.Driver], error)
	}{
		{"direct", true, func(t *testing.T) (conformance.Subject[runtime.Driver], error) {
			return conformance.Direct(t.Context(), newDriver, config(t))
		}},
		{"in-process", false, func(t *testing.T) (conformance.Subject[runtime.Driver], error) {
			return conformance.InProcess(t.Context(), newDriver, config(t))
		}},
		{"binary", false, func(t *testing.T) (conformance.Subject[runtime.Driver], error) {
			return conformance.Binary[runtime.Driver](t.Context(), conformance.BinaryConfig{Path: binary, Config: config(t)})
		}},
		{"binary with kills", true, func(t *testing.T) (conformance.Subject[runtime.Driver], error) {
			return conformance.Binary[runtime.Driver](t.Context(), conformance.BinaryConfig{Path: binary, Config: config(t), Kills: true})
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			made, err := way.open(t)
			s := conformance.Opened(t, made, err)
			if info, err := s.Driver().Info(t.Context()); err != nil || !slices.Contains(info.Capabilities, runtime.CapUserNS) {
				t.Errorf("%v, %v: without %s its case is left out", info.Capabilities, err, runtime.CapUserNS)
			}
			cases := conformance.RuntimeCases(s, conformance.RuntimeEnv{KillMonitor: killShim})
			if !way.all {
				cases = oneOfEachSort(cases)
			}
			conformance.RunTest(t, append(conformance.DriverCases(s), cases...))
		})
	}
}

// oneOfEachSort keeps cases that together make every call of the contract.
func oneOfEachSort(cases []conformance.Case) (some []conformance.Case) {
	for _, c := range cases {
		for _, prefix := range []string{
			"a container goes", "unknown containers", "a command that does", "Pause", "Kill reaches", "a terminal echoes",
			"with StdinOnce", "in a user namespace", "an exec takes", "an exec can be", "Update", "statistics", "a watcher", "Collect", "a terminal outlives",
		} {
			if strings.HasPrefix(c.Name, prefix) {
				some = append(some, c)
			}
		}
	}
	return some
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
			err = unix.EINTR
		}
		for errors.Is(err, unix.EINTR) {
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

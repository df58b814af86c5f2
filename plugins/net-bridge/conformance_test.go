package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/nftables"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/plugins/net-bridge/internal/bridge"
	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/network"
)

// flush removes all rules of the namespace, those of iptables (nf_tables) too.
func flush(context.Context) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.FlushRuleset()
	return c.Flush()
}

func newDriver() network.Driver {
	return bridge.New(hclog.New(&hclog.LoggerOptions{Level: hclog.Warn}), "test")
}

// subject opens the driver under test in one of four ways.
func subject(t *testing.T, way, firewall string) conformance.Subject[network.Driver] {
	c := conformance.TestConfig(t, fmt.Sprintf(`{"firewall": %q}`, firewall))
	var s conformance.Subject[network.Driver]
	var err error
	switch way {
	case "direct":
		s, err = conformance.Direct(t.Context(), newDriver, c)
	case "grpc":
		s, err = conformance.InProcess(t.Context(), newDriver, c)
	default:
		s, err = conformance.Binary[network.Driver](t.Context(), conformance.BinaryConfig{
			Path: os.Getenv(binaryVar), Config: c, Kills: way == "killed",
		})
	}
	return conformance.Opened(t, s, err)
}

// binaryVar names the built driver to tests in namespaces of their own.
const binaryVar = "STRAKE_TEST_NET_BRIDGE"

func TestMain(m *testing.M) {
	if os.Getenv(binaryVar) != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "net-bridge-test-")
	if err != nil {
		panic(err)
	}
	path := filepath.Join(dir, "strake-net-bridge")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the driver: %v\n%s", err, out))
	}
	os.Setenv(binaryVar, path)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func conform(t *testing.T, way, firewall string) {
	t.Parallel()
	if conformance.Isolated(t) {
		conformance.RunTest(t, conformance.NetworkCases(subject(t, way, firewall), conformance.NetworkEnv{Flush: flush}))
	}
}

// All four ways and both backends, not each way with each.

func TestConformsDirectlyWithNftables(t *testing.T)    { conform(t, "direct", "nftables") }
func TestConformsOverGRPCWithNftables(t *testing.T)    { conform(t, "grpc", "nftables") }
func TestConformsWhileKilledWithNftables(t *testing.T) { conform(t, "killed", "nftables") }
func TestConformsAsBinaryWithIptables(t *testing.T)    { conform(t, "binary", "iptables") }
func TestConformsWhileKilledWithIptables(t *testing.T) { conform(t, "killed", "iptables") }

package main

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/nftables"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/plugins/net-bridge/internal/bridge"
	"github.com/strakehq/strake/plugins/net-bridge/internal/nstest"
	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
)

func testConfig(t testing.TB, firewall string) driver.Config {
	opts, err := json.Marshal(map[string]any{"firewall": firewall})
	if err != nil {
		t.Fatal(err)
	}
	return driver.Config{Options: opts, StateDir: t.TempDir(), RunDir: t.TempDir()}
}

func flush(context.Context) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.FlushRuleset()
	return c.Flush()
}

// direct is a driver in the test's own process. A kill is an end without
// warning as far as a process allows it.
func direct(t *testing.T, c driver.Config) conformance.Subject[network.Driver] {
	d := bridge.New(hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}}), "test")
	if err := d.Configure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Shutdown(context.Background()) })
	return conformance.Subject[network.Driver]{Driver: func() network.Driver { return d }}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func TestConformsDirectlyWithNftables(t *testing.T) {
	if nstest.Isolated(t) {
		conformance.RunTest(t, conformance.NetworkCases(direct(t, testConfig(t, "nftables")), conformance.NetworkEnv{Flush: flush}))
	}
}

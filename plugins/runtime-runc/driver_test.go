package main_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

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
			return conformance.RuntimeCases(s, conformance.RuntimeEnv{})
		},
	}.RunTest(t)
}

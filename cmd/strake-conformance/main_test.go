package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/registry"
)

// The test binary is its own driver.
const actAs = "STRAKE_DRIVER"

func TestMain(m *testing.M) {
	if os.Getenv(actAs) != "" {
		plugin.Serve(plugin.ServeConfig{Driver: polite{}})
		return
	}
	os.Exit(m.Run())
}

// polite says who it is, and can do nothing: calls of the kind's contract fail.
type polite struct {
	driver.Base
	registry.Driver
}

func (polite) Info(context.Context) (driver.Info, error) {
	return driver.Info{Name: "polite", Version: "1", OptionsSchema: []byte(`{"type": "object", "additionalProperties": false}`)}, nil
}
func (polite) Configure(context.Context, driver.Config) error { return nil }
func (polite) Shutdown(context.Context) error                 { return nil }
func (polite) WatchHealth(ctx context.Context, report func(driver.Health)) error {
	return driver.Base{}.WatchHealth(ctx, report)
}

func conform(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(t.Context(), args, &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestOneLineACaseAndTheStatusTellHowItWent(t *testing.T) {
	code, out, errOut := conform(t, "--run", "who it is", "--kill", "/proc/self/exe")
	if code != 0 || !strings.Contains(out, "registry driver polite 1\n") || !strings.HasSuffix(out, "3 passed, 0 failed, 0 skipped\n") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	if strings.Count(out, "ok ") != 3 {
		t.Errorf("not one line a case:\n%s", out)
	}
	code, out, errOut = conform(t, "--run", "no object|at once, and", "/proc/self/exe")
	if code != 1 || !strings.Contains(out, "FAIL") || !strings.Contains(out, `want class "invalid argument"`) {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	if !strings.HasSuffix(out, "1 passed, 1 failed, 0 skipped\n") {
		t.Errorf("%s", out)
	}
}

func TestCasesAreListed(t *testing.T) {
	code, out, _ := conform(t, "--list", "--kind=registry", "/proc/self/exe")
	if code != 0 || strings.Count(out, "\n") < 20 || !strings.Contains(out, "the driver says who it is, and always the same\n") {
		t.Errorf("%d\n%s", code, out)
	}
}

func TestWhatCannotBeRunIsStatus2(t *testing.T) {
	for want, args := range map[string][]string{
		"name one driver's binary":                    {},
		"does not exist":                              {"/none"},
		"is not JSON":                                 {"--options", "x", "/proc/self/exe"},
		"unknown option a: there are none":            {"--options", `{"a": 1}`, "/proc/self/exe"},
		`registry driver "polite", not a storage`:     {"--kind", "storage", "/proc/self/exe"},
		"--run: error parsing regexp":                 {"--run", "(", "/proc/self/exe"},
		"new: give the driver's name":                 {"new", "x"},
		"must be storage, runtime, network or":        {"new", "--kind", "x", "n", t.TempDir()},
		"flag provided but not defined: -nonsensical": {"--nonsensical"},
	} {
		code, out, errOut := conform(t, args...)
		if code != 2 || !strings.Contains(errOut, want) {
			t.Errorf("%q: %d\n%s%s", args, code, out, errOut)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	code, _, errOut := conform(t, "--help")
	if code != 0 || !strings.Contains(errOut, "Usage:") {
		t.Errorf("%d %s", code, errOut)
	}
}

func TestASkeletonIsWritten(t *testing.T) {
	dir := t.TempDir()
	code, out, errOut := conform(t, "new", "--kind", "network", "tap", dir)
	if code != 0 || !strings.Contains(out, "go mod tidy") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	if b, err := os.ReadFile(dir + "/go.mod"); err != nil || !strings.HasPrefix(string(b), "module example.com/strake-net-tap\n") {
		t.Errorf("%s %v", b, err)
	}
}

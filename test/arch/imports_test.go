package arch

import (
	"slices"
	"strings"
	"testing"
)

// rule forbids packages below from to import packages below to.
type rule struct {
	from, to string
	// except may import it all the same.
	except []string
	why    string
}

func rules() []rule {
	return []rule{
		{"core", "plugins", nil, "the core speaks to drivers through sdk/ only, so that any driver can take a shipped one's place"},
		{"core", "cmd", nil, "programs use the core, not the reverse"},
		{"plugins", "core", nil, "a driver imports only sdk/: what it needs from the core, third parties could not have"},
		{"plugins", "cmd", nil, "a driver imports only sdk/"},
		{"sdk", "core", nil, "the SDK stands alone: third parties link it"},
		{"sdk", "plugins", nil, "the SDK stands alone: third parties link it"},
		{"sdk", "cmd", nil, "the SDK stands alone: third parties link it"},
		{"cmd/strake", "plugins", nil, "the CLI speaks to the daemon"},
		{"cmd/strake", "core/engine", nil, "the CLI speaks to the daemon"},
		{"cmd/strake-conformance", "core", nil, "the kit runs without a daemon"},
		{"cmd/strake-shim", "core", nil, "the shim's memory counts once per container"},
	}
}

// below says that path is dir or in it.
func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func TestNobodyImportsWhomTheyMayNot(t *testing.T) {
	for _, p := range inTree(t) {
		imports := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		for _, r := range rules() {
			if !below(p.path(), r.from) || slices.Contains(r.except, p.path()) {
				continue
			}
			for _, i := range imports {
				if below(i, module+"/"+r.to) {
					t.Errorf("%s imports %s: %s", p.path(), i, r.why)
				}
			}
		}
	}
}

// One plugin must not lean on another, or its swap would break the other.
func TestDriversDoNotImportEachOther(t *testing.T) {
	for _, p := range inTree(t) {
		own := driverOf(p.path())
		if own == "" {
			continue
		}
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if other := driverOf(strings.TrimPrefix(i, module+"/")); other != "" && other != own {
				t.Errorf("%s imports %s: each driver stands alone", p.path(), i)
			}
		}
	}
}

// driverOf is the driver that a package belongs to: "plugins/net-bridge".
func driverOf(path string) string {
	f := strings.Split(path, "/")
	switch {
	case f[0] != "plugins" || len(f) < 2:
		return ""
	case f[1] == "examples" && len(f) > 2:
		return strings.Join(f[:3], "/")
	}
	return strings.Join(f[:2], "/")
}

func TestOnlyOnePackageImportsGoPlugin(t *testing.T) {
	for _, p := range inTree(t) {
		for _, i := range p.Imports {
			if below(i, "github.com/hashicorp/go-plugin") && p.path() != "sdk/plugin" {
				t.Errorf("%s imports %s: sdk/plugin alone knows its traps", p.path(), i)
			}
		}
	}
}

// links demands that a program links none of some packages, however indirectly.
func links(t *testing.T, program string, forbidden map[string]string) {
	t.Helper()
	for _, p := range inTree(t) {
		if p.path() != program {
			continue
		}
		for _, d := range p.Deps {
			for bad, why := range forbidden {
				if below(d, bad) {
					t.Errorf("%s links %s: %s", program, d, why)
				}
			}
		}
	}
}

func TestTheShimIsSmall(t *testing.T) {
	const why = "there is one shim per container, and its memory is a headline figure"
	links(t, "cmd/strake-shim", map[string]string{
		"google.golang.org": why, "github.com/hashicorp": why, "net/http": why, "crypto/tls": why,
		"github.com/containerd": why, "github.com/opencontainers": why, "github.com/vishvananda": why,
	})
}

func TestDriversLinkNothingOfTheHosts(t *testing.T) {
	const why = "it is the host's business, and costs every driver memory"
	for _, d := range drivers(t) {
		links(t, d, map[string]string{
			"github.com/santhosh-tekuri/jsonschema": why, "go.opentelemetry.io": why,
			module + "/sdk/conformance": why, module + "/sdk/options": why, "go.etcd.io": why,
		})
	}
}

// drivers lists the main packages below plugins.
func drivers(t *testing.T) []string {
	var all []string
	for _, p := range inTree(t) {
		if d := driverOf(p.path()); d == p.path() && len(p.GoFiles) > 0 {
			all = append(all, d)
		}
	}
	if len(all) < 4 {
		t.Fatalf("only %v found", all)
	}
	return all
}

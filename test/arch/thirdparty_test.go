package arch

import (
	"slices"
	"testing"
)

// What somebody who writes a driver has to take along. A change here is a
// decision, not an accident: every driver's memory and every author's supply
// chain pay for it.
func TestAThirdPartysDriverLinksFewModules(t *testing.T) {
	common := []string{
		"github.com/containerd/errdefs",
		"github.com/containernetworking/cni",
		"github.com/fatih/color",
		"github.com/golang/protobuf",
		"github.com/hashicorp/go-hclog",
		"github.com/hashicorp/go-plugin",
		"github.com/hashicorp/yamux",
		"github.com/mattn/go-colorable",
		"github.com/mattn/go-isatty",
		"github.com/oklog/run",
		"github.com/opencontainers/go-digest",
		"github.com/opencontainers/image-spec",
		"golang.org/x/net",
		"golang.org/x/sys",
		"golang.org/x/text",
		"google.golang.org/genproto/googleapis/rpc",
		"google.golang.org/grpc",
		"google.golang.org/protobuf",
		module,
	}
	for _, m := range modules(t, "./sdk/storage", "./sdk/runtime", "./sdk/network", "./sdk/registry", "./sdk/plugin", "./sdk/trace", "./sdk/mount") {
		if !slices.Contains(common, m) {
			t.Errorf("a driver links %s: is that worth it? Then say so here", m)
		}
	}
}

// modules lists the modules that packages link.
func modules(t *testing.T, packages ...string) []string {
	t.Helper()
	var all []string
	deps, err := list(append([]string{"-deps"}, packages...)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range deps {
		if p.Module != nil && !slices.Contains(all, p.Module.Path) {
			all = append(all, p.Module.Path)
		}
	}
	slices.Sort(all)
	return all
}

// The contracts themselves are for everybody to import.
func TestTheContractsLinkNoTransport(t *testing.T) {
	for _, c := range []string{"sdk/driver", "sdk/storage", "sdk/runtime", "sdk/network", "sdk/registry", "sdk/mount", "sdk/trace"} {
		links(t, c, map[string]string{
			"google.golang.org":      "a contract says what, not how",
			"github.com/hashicorp":   "a contract says what, not how",
			module + "/sdk/internal": "a contract says what, not how",
		})
	}
}

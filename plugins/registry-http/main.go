// Command strake-registry-http is the registry driver "http": a client of the
// OCI distribution API for every registry that speaks it.
//
// It resolves references, moves manifests and blobs in both directions, and
// knows mirrors, TLS settings and credentials per host. docs/drivers/registry.md
// describes its options.
package main

import (
	"github.com/strakehq/strake/sdk/plugin"
)

func main() {
	plugin.Serve(plugin.ServeConfig{Driver: &Driver{}})
}

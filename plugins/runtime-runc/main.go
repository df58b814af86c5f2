// Strake-runtime-runc is the runtime driver for runc, crun and every other OCI
// runtime with their command line.
package main

import (
	"github.com/strakehq/strake/plugins/runtime-runc/internal/runc"
	"github.com/strakehq/strake/sdk/plugin"
)

func main() {
	log := plugin.NewLogger("runtime-runc")
	plugin.Serve(plugin.ServeConfig{Driver: runc.New(log), Logger: log})
}

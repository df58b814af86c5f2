// Command strake-net-bridge is the network driver "bridge": a Linux bridge per
// network, ports published in the kernel. See docs/drivers/network.md.
package main

import (
	"github.com/strakehq/strake/plugins/net-bridge/internal/bridge"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/version"
)

func main() {
	log := plugin.NewLogger("network")
	plugin.Serve(plugin.ServeConfig{Driver: bridge.New(log, version.Version), Logger: log})
}

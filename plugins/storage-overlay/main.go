// Command strake-storage-overlay is the storage driver "overlay": layers and
// writable roots stacked with overlayfs. See docs/drivers/storage.md.
package main

import (
	"github.com/strakehq/strake/plugins/storage-overlay/internal/overlay"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/version"
)

func main() {
	log := plugin.NewLogger("storage")
	plugin.Serve(plugin.ServeConfig{Driver: overlay.New(version.Version, log), Logger: log})
}

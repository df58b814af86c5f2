// Command strake-storage-copy is the smallest correct storage driver: every
// snapshot is a whole copy of its parent. It is slow and wasteful, works on any
// file system, and shows what the contract asks for.
package main

import (
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/storage"
)

var _ storage.Driver = (*copier)(nil)

func main() { plugin.Serve(plugin.ServeConfig{Driver: &copier{}}) }

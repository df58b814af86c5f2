package driver

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
)

// spec is one driver that the configuration asks for.
type spec struct {
	kind driver.Kind
	// name is what the daemon calls it: "overlay", or "crun" for
	// [runtimes.crun], though both may be the same binary.
	name string
	// key is the table of the config file: "storage", "runtimes.crun".
	key    string
	config config.Driver
	// first says that it serves its kind when nobody names another.
	first bool
}

// String is how messages name a driver.
func (s spec) String() string { return fmt.Sprintf("%s driver %q", s.kind, s.name) }

// options returns the options of c as a JSON object.
func (s spec) options(c config.Driver) (json.RawMessage, error) {
	if len(c.Options) == 0 {
		return json.RawMessage("{}"), nil
	}
	raw, err := json.Marshal(c.Options)
	if err != nil {
		return nil, fmt.Errorf("%s: [%s.options]: %w: %w", s, s.key, err, errdefs.ErrInvalidArgument)
	}
	return raw, nil
}

// specs lists the drivers of a configuration, each kind's first one before its
// others.
func specs(c *config.Config) []spec {
	all := []spec{
		{driver.Storage, c.Storage.InstanceName(), "storage", c.Storage, true},
		{driver.Runtime, c.Runtime.InstanceName(), "runtime", c.Runtime, true},
		{driver.Network, c.Network.InstanceName(), "network", c.Network, true},
		{driver.Registry, c.Registry.InstanceName(), "registry", c.Registry, true},
	}
	for _, n := range slices.Sorted(maps.Keys(c.Runtimes)) {
		all = append(all, spec{driver.Runtime, n, "runtimes." + n, c.Runtimes[n], false})
	}
	for _, n := range slices.Sorted(maps.Keys(c.Networks)) {
		all = append(all, spec{driver.Network, n, "networks." + n, c.Networks[n], false})
	}
	if c.DefaultRuntime != "" {
		for i := range all {
			if all[i].kind == driver.Runtime {
				all[i].first = all[i].name == c.DefaultRuntime
			}
		}
	}
	return all
}

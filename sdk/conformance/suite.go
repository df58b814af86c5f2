package conformance

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/runtime"
)

// Env is what the kinds' cases need to know beyond the driver.
type Env struct {
	Runtime  RuntimeEnv
	Network  NetworkEnv
	Registry RegistryEnv
}

// Ask launches a binary to find out what driver it is.
func Ask(ctx context.Context, b BinaryConfig) (driver.Info, error) {
	if b.Logger == nil {
		b.Logger = hclog.NewNullLogger()
	}
	c, err := plugin.Launch(ctx, plugin.LaunchConfig{
		Path: b.Path, Env: b.Env, SocketDir: socketDir(b.Config), LogPath: b.LogPath, Logger: b.Logger,
	})
	if err != nil {
		return driver.Info{}, err
	}
	defer c.Kill()
	return c.Info(), nil
}

// Suite launches a binary and returns all cases for a driver of its kind, and a
// function that ends it.
func Suite(ctx context.Context, b BinaryConfig, kind driver.Kind, env Env) (cases []Case, end func(), err error) {
	switch kind {
	case driver.Storage:
		return suite(ctx, b, StorageCases)
	case driver.Runtime:
		return suite(ctx, b, func(s Subject[runtime.Driver]) []Case { return RuntimeCases(s, env.Runtime) })
	case driver.Network:
		return suite(ctx, b, func(s Subject[network.Driver]) []Case { return NetworkCases(s, env.Network) })
	case driver.Registry:
		return suite(ctx, b, func(s Subject[registry.Driver]) []Case { return RegistryCases(s, env.Registry) })
	}
	return nil, nil, fmt.Errorf("kind %q: there is no suite: %w", kind, errdefs.ErrInvalidArgument)
}

func suite[D driver.Driver](ctx context.Context, b BinaryConfig, cases func(Subject[D]) []Case) ([]Case, func(), error) {
	s, err := Binary[D](ctx, b)
	if err != nil {
		return nil, nil, err
	}
	return append(DriverCases(s), cases(s)...), s.Close, nil
}

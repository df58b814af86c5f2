package driver

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
)

// common is the part that all proxies share.
type common struct{ in *instance }

var _ driver.Driver = common{}

// Info returns the identity of the present process, or of the last one: what it
// told when it was launched.
func (c common) Info(ctx context.Context) (driver.Info, error) {
	if s, _ := c.in.get(); s.info.Name != "" {
		return s.info, nil
	}
	return call(ctx, c.in, quick("Info"), func(ctx context.Context, d driver.Driver) (driver.Info, error) { return d.Info(ctx) })
}

// Configure is refused: the host alone configures.
func (c common) Configure(context.Context, driver.Config) error { return c.refuse("Configure") }

// Shutdown is refused: the host alone ends processes.
func (c common) Shutdown(context.Context) error { return c.refuse("Shutdown") }

func (c common) refuse(method string) error {
	return fmt.Errorf("%s: %s is for the plugin host alone: %w", c.in.spec, method, errdefs.ErrFailedPrecondition)
}

// WatchHealth passes on what the driver reports, over relaunches.
func (c common) WatchHealth(ctx context.Context, report func(driver.Health)) error {
	return watch(ctx, c.in, "WatchHealth", func(ctx context.Context, d driver.Driver) error { return d.WatchHealth(ctx, report) })
}

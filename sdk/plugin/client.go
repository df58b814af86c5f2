package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/internal/bulk"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/internal/wire/networkwire"
	"github.com/strakehq/strake/sdk/internal/wire/registrywire"
	"github.com/strakehq/strake/sdk/internal/wire/runtimewire"
	"github.com/strakehq/strake/sdk/internal/wire/storagewire"
	"github.com/strakehq/strake/sdk/network"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

// Client is a driver's process as its host sees it. It is safe for concurrent
// use.
type Client struct {
	info    driver.Info
	pid     int
	driver  driver.Driver
	dead    <-chan struct{}
	kill    func()
	stop    func(context.Context) error
	outcome func() string
}

// Info is what the driver said of itself when it was launched.
func (c *Client) Info() driver.Info { return c.info }

// Pid is the driver's process id; 0 for one without a process.
func (c *Client) Pid() int { return c.pid }

// Driver is the driver. It implements the contract of its kind and, of the
// optional interfaces, those that it declares.
func (c *Client) Driver() driver.Driver { return c.driver }

// Storage is the driver if it is a storage driver.
func (c *Client) Storage() (storage.Driver, bool) { d, ok := c.driver.(storage.Driver); return d, ok }

// Runtime is the driver if it is a runtime driver.
func (c *Client) Runtime() (runtime.Driver, bool) { d, ok := c.driver.(runtime.Driver); return d, ok }

// Network is the driver if it is a network driver.
func (c *Client) Network() (network.Driver, bool) { d, ok := c.driver.(network.Driver); return d, ok }

// Registry is the driver if it is a registry driver.
func (c *Client) Registry() (registry.Driver, bool) {
	d, ok := c.driver.(registry.Driver)
	return d, ok
}

// Dead is closed when the process has ended, however it did.
func (c *Client) Dead() <-chan struct{} { return c.dead }

// Outcome says how the process ended, "signal: killed" for example. Ask after
// Dead.
func (c *Client) Outcome() string { return c.outcome() }

// Kill ends the process at once with SIGKILL and removes its sockets. It
// returns when both are done. Killing again does nothing.
func (c *Client) Kill() { c.kill() }

// Shutdown asks the driver to end and waits for it; when ctx is done first, or
// after 30 seconds, it is killed.
func (c *Client) Shutdown(ctx context.Context) error {
	err := c.stop(ctx)
	c.kill()
	return err
}

// connect asks the driver at the other end of cc who it is and makes the client
// of its kind.
func connect(ctx context.Context, cc *grpc.ClientConn, dir string) (driver.Info, driver.Driver, error) {
	info, err := driverwire.NewClient(cc).Info(ctx)
	if err != nil {
		return info, nil, err
	}
	b := bulk.Host{Dir: dir, Pool: &bulk.Pool{}}
	switch info.Kind {
	case driver.Storage:
		return info, storagewire.NewClient(cc, b, info.Capabilities), nil
	case driver.Runtime:
		return info, runtimewire.NewClient(cc), nil
	case driver.Network:
		return info, networkwire.NewClient(cc), nil
	case driver.Registry:
		return info, registrywire.NewClient(cc, b), nil
	}
	return info, nil, fmt.Errorf("driver %s: unknown kind %q: %w", info.Name, info.Kind, errdefs.ErrFailedPrecondition)
}

// shutdown ends a process in good order: the driver is asked, then its lifeline
// is let go.
func shutdown(ctx context.Context, d driver.Driver, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := errors.Join(d.Shutdown(ctx), p.hangUp())
	select {
	case <-p.exited:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("driver %s: did not end in time and is killed: %w", p.Name(), ctx.Err()))
	}
}

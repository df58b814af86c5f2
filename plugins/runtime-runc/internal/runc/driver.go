// Package runc is the runtime driver for OCI runtimes with runc's command line.
//
// The driver starts a shim per container (cmd/strake-shim), which does the work
// and outlives it, and keeps a connection to each. What it knows it has from
// the containers' directories and from the shims; so it can be killed at any
// moment. When a shim dies, the driver has another one adopt the container.
package runc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim/wire"
	"github.com/strakehq/strake/sdk/version"
)

// Driver implements runtime.Driver.
type Driver struct {
	driver.Base
	log    hclog.Logger
	events events

	mu         sync.Mutex // guards all below
	configured *setup
	containers map[runtime.ContainerID]*container
}

var _ runtime.Driver = (*Driver)(nil)

// setup is what Configure decided.
type setup struct {
	options options
	raw     driver.Config
	binary  string // of the default OCI runtime
	shim    string
	dir     string // of containers
	sockets string
	ahead   *ahead
}

// New returns a driver that logs to l.
func New(l hclog.Logger) *Driver {
	return &Driver{log: l, containers: map[runtime.ContainerID]*container{}}
}

// Info returns the driver's identity.
func (d *Driver) Info(context.Context) (driver.Info, error) {
	return driver.Info{
		Kind: driver.Runtime, Name: "runc", Version: version.Version,
		Capabilities:  []driver.Capability{runtime.CapRuntimes, runtime.CapUserNS},
		OptionsSchema: []byte(schema),
	}, nil
}

// maxPrefix is how long the socket directory may be, so that socket addresses
// (107 bytes) have room for "/", the container's hash and a suffix.
const maxPrefix = 107 - 1 - hashLen - 12

// Configure finds the programs that are needed and the containers that are
// there.
func (d *Driver) Configure(ctx context.Context, c driver.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.configured != nil && equal(d.configured.raw, c) {
		return nil
	}
	s, err := newSetup(c)
	if err != nil {
		return err
	}
	if d.configured != nil {
		d.configured.ahead.close()
	}
	s.ahead = newAhead(d.log, s)
	d.configured = s
	go func() {
		defer s.ahead.end()
		if err := killSpares(s.dir); err != nil {
			d.log.Warn("end spare shims of a former process", "err", err)
		}
	}()
	return d.load(ctx)
}

func equal(a, b driver.Config) bool {
	return slices.Equal(a.Options, b.Options) && a.StateDir == b.StateDir && a.RunDir == b.RunDir && a.Libexec == b.Libexec
}

func newSetup(c driver.Config) (*setup, error) {
	o, err := parseOptions(c.Options)
	if err != nil {
		return nil, err
	}
	s := &setup{options: o, raw: c, shim: filepath.Join(c.Libexec, "strake-shim")}
	s.dir, s.sockets = filepath.Join(c.RunDir, "c"), filepath.Join(c.RunDir, "s")
	if len(s.sockets) > maxPrefix {
		return nil, fmt.Errorf("run directory %s: too long for socket addresses, choose one of at most %d bytes: %w",
			c.RunDir, maxPrefix-2, errdefs.ErrInvalidArgument)
	}
	if s.binary, err = lookPath(o.Binary); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrFailedPrecondition)
	}
	if _, err := os.Stat(s.shim); err != nil {
		return nil, fmt.Errorf("strake-shim is needed beside the drivers: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	for _, dir := range []string{s.dir, s.sockets} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Shutdown ends spare shims and removes the cgroup for shims, if none is left in
// it.
func (d *Driver) Shutdown(context.Context) error {
	s, err := d.setup()
	if err != nil {
		return nil //nolint:nilerr // nothing was done
	}
	s.ahead.close()
	dir, err := shimCgroup(s.options.ShimCgroup)
	if err != nil || dir == "" {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cgroup for shims: remove %s: %w", dir, err)
	}
	return nil
}

// load takes up the containers of a former process of the driver.
func (d *Driver) load(ctx context.Context) error {
	entries, err := os.ReadDir(d.configured.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := runtime.ContainerID(e.Name())
		c, err := d.known(id)
		if errors.Is(err, errdefs.ErrNotFound) {
			continue // Create had not begun in earnest; Collect removes it
		}
		if err != nil {
			return err
		}
		go c.greet(context.WithoutCancel(ctx))
	}
	return nil
}

// setup returns what Configure decided.
func (d *Driver) setup() (*setup, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.configured == nil {
		return nil, fmt.Errorf("runtime driver is not configured: %w", errdefs.ErrFailedPrecondition)
	}
	return d.configured, nil
}

// busy says that a call is under way until done, after which there is time for
// spare shims.
func (d *Driver) busy() (done func()) {
	s, err := d.setup()
	if err != nil {
		return func() {}
	}
	s.ahead.begin()
	return s.ahead.end
}

// get finds a container, on disk if need be.
func (d *Driver) get(id runtime.ContainerID) (*container, error) {
	if _, err := d.setup(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known(id)
}

// known is get for a caller that holds mu.
func (d *Driver) known(id runtime.ContainerID) (*container, error) {
	if err := checkID(string(id)); err != nil {
		return nil, err
	}
	if c, ok := d.containers[id]; ok {
		return c, nil
	}
	c := newContainer(d, d.configured, id)
	if err := wire.Load(filepath.Join(c.dir, wire.ConfigFile), &c.conf); err != nil {
		return nil, fmt.Errorf("container %s: not found: %w", id, errdefs.ErrNotFound)
	}
	d.containers[id] = c
	return c, nil
}

// drop forgets a container.
func (d *Driver) drop(id runtime.ContainerID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.containers, id)
}

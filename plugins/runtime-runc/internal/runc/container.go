package runc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// hashLen is the length of a container's name in the socket directory.
const hashLen = 12

// container is one container and the connection to its shim.
type container struct {
	d     *Driver
	setup *setup
	id    runtime.ContainerID
	dir   string

	mu      sync.Mutex // held while a shim is started, connected to or given up; guards all below
	conf    wire.Config
	client  *shim.Client
	process *os.Process // the shim, if this process started it
	deleted bool
}

func newContainer(d *Driver, s *setup, id runtime.ContainerID) *container {
	return &container{d: d, setup: s, id: id, dir: filepath.Join(s.dir, string(id))}
}

// checkID keeps ids from being anything but file names.
func checkID(id string) error {
	valid := len(id) >= 1 && len(id) <= 64 && id[0] != '.' && strings.Trim(id, idBytes) == ""
	if !valid {
		return fmt.Errorf("id %q: must be 1 to 64 of [a-zA-Z0-9_.-] and not begin with a dot: %w", id, errdefs.ErrInvalidArgument)
	}
	return nil
}

const idBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

func (c *container) file(name string) string { return filepath.Join(c.dir, name) }

// socketPrefix is where the container's sockets are: short, whatever its id.
func (s *setup) socketPrefix(id runtime.ContainerID) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(s.sockets, hex.EncodeToString(sum[:])[:hashLen])
}

// errNoShim says that the shim is dead.
var errNoShim = errors.New("no shim")

// connect returns a connection to the living shim. It is errNoShim when there
// is none.
func (c *container) connect(ctx context.Context) (*shim.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected(ctx)
}

// connected is connect for a caller that holds mu.
func (c *container) connected(ctx context.Context) (*shim.Client, error) {
	if c.client != nil {
		return c.client, nil
	}
	client, err := shim.Dial(ctx, c.conf.Control(), c.event)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, errNoShim
	}
	if err != nil {
		return nil, fmt.Errorf("container %s: connect to shim: %w: %w", c.id, err, errdefs.ErrUnavailable)
	}
	c.client = client
	go c.watch(client, c.process)
	return client, nil
}

// launch starts a shim and connects to it.
func (c *container) launch(ctx context.Context, adopt bool) (*shim.Client, error) {
	p, err := shim.Start(shim.Launch{
		Program: c.setup.shim, Dir: c.dir, Config: c.conf, Adopt: adopt, Cgroup: c.setup.cgroup,
	})
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", c.id, err)
	}
	c.process = p
	return c.connected(ctx)
}

// watch waits for the shim's end.
func (c *container) watch(client *shim.Client, p *os.Process) {
	<-client.Gone()
	if p != nil {
		if _, err := p.Wait(); err != nil && !errors.Is(err, syscall.ECHILD) {
			c.d.log.Warn("wait for shim", "container", c.id, "err", err)
		}
	}
	if err := client.Close(); err != nil {
		c.d.log.Warn("close connection to shim", "container", c.id, "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == client {
		c.client, c.process = nil, nil
	}
}

// greet connects to the shim of a container that was found at start.
func (c *container) greet(ctx context.Context) {
	if _, err := c.connect(ctx); err != nil && !errors.Is(err, errNoShim) {
		c.d.log.Warn("take up container", "container", c.id, "err", err)
	}
}

// call performs a request on the shim.
func (c *container) call(ctx context.Context, r wire.Request) (wire.Reply, error) {
	client, err := c.connect(ctx)
	if err != nil {
		return wire.Reply{}, err
	}
	reply, err := client.Call(ctx, r)
	c.d.trace(ctx, client, reply.Spans)
	if err != nil {
		return reply, c.classify(err)
	}
	return reply, nil
}

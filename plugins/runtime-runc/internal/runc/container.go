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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/mishap"
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
	keep  keeper
	gone  atomic.Bool // being removed: nobody shall adopt it

	mu      sync.Mutex // held while a shim is started, connected to or given up; guards all below
	conf    wire.Config
	client  *shim.Client
	process *os.Process // the shim, if this process started it
	started time.Time   // when it was, if it took the place of another
}

func newContainer(d *Driver, s *setup, id runtime.ContainerID) *container {
	return &container{d: d, setup: s, id: id, dir: filepath.Join(s.dir, string(id))}
}

// checkID keeps ids from being anything but file names.
func checkID(id string) error {
	valid := len(id) >= 1 && len(id) <= wire.MaxName && id[0] != '.' && strings.Trim(id, idBytes) == ""
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

// errNoShim says that the shim is dead and the container is not to be adopted,
// since it has ended or was never created.
var errNoShim = errors.New("its shim was killed, and there is no process for another to take over")

// connect returns a connection to the living shim, or to a new one that takes
// the place of a dead one.
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
	if c.conf.ID == "" { // Create has not begun in earnest
		return nil, fmt.Errorf("container %s: not found: %w", c.id, errdefs.ErrNotFound)
	}
	err := c.dial(ctx)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		err = c.adopt(ctx)
	}
	if err != nil {
		return nil, err
	}
	return c.client, nil
}

func (c *container) dial(ctx context.Context) error {
	client, err := shim.Dial(ctx, c.conf.Control(), c.event)
	if err != nil {
		return fmt.Errorf("container %s: connect to shim: %w: %w", c.id, err, errdefs.ErrUnavailable)
	}
	c.client = client
	go c.watch(context.WithoutCancel(ctx), client, c.process)
	return nil
}

// launch starts a shim and connects to it.
func (c *container) launch(ctx context.Context, adopt bool) error {
	l := shim.Launch{Program: c.setup.shim, Dir: c.dir, Config: c.conf, Adopt: adopt}
	if adopt {
		l.Kept = c.keep.kept()
	}
	p, err := c.setup.start(l)
	if err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	mishap.Hit(mishap.RuncLaunched)
	c.process, c.started = p, time.Time{}
	if adopt {
		c.started = time.Now()
	}
	return c.dial(ctx)
}

// start has a spare be the shim, or else starts one.
func (s *setup) start(l shim.Launch) (p *os.Process, err error) {
	if !l.Adopt {
		p, err = s.ahead.assign(l)
		if !errors.Is(err, shim.ErrNoSpare) {
			return p, err
		}
	}
	err = s.inCgroup(func(cgroup *os.File) error {
		l.Cgroup = cgroup
		p, err = shim.Start(l)
		return err
	})
	return p, err
}

// inCgroup has something started in the cgroup for shims.
func (s *setup) inCgroup(start func(cgroup *os.File) error) (err error) {
	for range 2 {
		cgroup, oerr := openCgroup(s.options.ShimCgroup)
		if oerr != nil {
			return oerr
		}
		err = start(cgroup)
		if cgroup != nil {
			err = errors.Join(err, cgroup.Close())
		}
		if !errors.Is(err, syscall.ENODEV) { // else it was removed just now
			break
		}
	}
	return err
}

// adopt starts a shim in place of a dead one, unless the container has ended or
// was never created.
func (c *container) adopt(ctx context.Context) error {
	if c.gone.Load() || c.has(wire.ExitFile) || !c.has(wire.StateFile) {
		return fmt.Errorf("container %s: %w", c.id, errNoShim)
	}
	c.d.log.Warn("shim died, another adopts the container", "container", c.id)
	if err := c.launch(ctx, true); err != nil {
		return err
	}
	return nil
}

func (c *container) has(file string) bool {
	_, err := os.Stat(c.file(file))
	return err == nil
}

// shimLives is how long an adopting shim must have lived for another to take
// its place at once: one that always dies must not be started over and over.
const shimLives = time.Second

// watch waits for the shim's end, and has the container adopted.
func (c *container) watch(ctx context.Context, client *shim.Client, p *os.Process) {
	<-client.Gone()
	if p != nil {
		if _, err := p.Wait(); err != nil && !errors.Is(err, syscall.ECHILD) {
			c.d.log.Warn("wait for shim", "container", c.id, "err", err)
		}
	}
	if err := client.Close(); err != nil {
		c.d.log.Warn("close connection to shim", "container", c.id, "err", err)
	}
	c.giveUp(client)
	c.mu.Lock()
	rest := shimLives - time.Since(c.started)
	c.mu.Unlock()
	if rest > 0 && p != nil && !c.has(wire.ExitFile) {
		time.Sleep(rest)
	}
	c.greet(ctx)
}

// greet connects to the shim, and keeps what must not be lost with it.
func (c *container) greet(ctx context.Context) {
	client, err := c.connect(ctx)
	if errors.Is(err, errNoShim) {
		c.tell()
	}
	if err == nil {
		err = c.holdAll(ctx, client)
	}
	if err != nil && !errors.Is(err, errNoShim) && !errors.Is(err, shim.ErrGone) {
		c.d.log.Warn("take up container", "container", c.id, "err", err)
	}
}

// holdAll keeps what there is of all processes.
func (c *container) holdAll(ctx context.Context, client *shim.Client) error {
	execs, err := os.ReadDir(c.file(wire.ExecDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = c.holdOne(ctx, client, "")
	for _, e := range execs {
		err = errors.Join(err, c.holdOne(ctx, client, e.Name()))
	}
	return err
}

func (c *container) holdOne(ctx context.Context, client *shim.Client, exec string) error {
	r, err := client.Call(ctx, wire.Request{Op: wire.OpState, Exec: exec})
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Class == wire.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return c.hold(client, exec, *r.State)
}

func (c *container) hold(client *shim.Client, exec string, s wire.State) error {
	dir := c.dir
	if exec != "" {
		dir = filepath.Join(dir, wire.ExecDir, exec)
	}
	if err := c.keep.hold(client, dir, exec, s); err != nil {
		return fmt.Errorf("keep streams of process %q: %w", exec, err)
	}
	return nil
}

// attempts is how many shims may die under one call.
const attempts = 3

// call performs a request on the shim. When the shim dies over it, it is
// repeated on the next one, which all requests bear.
func (c *container) call(ctx context.Context, r wire.Request) (wire.Reply, error) {
	for try := 1; ; try++ {
		client, err := c.connect(ctx)
		if err != nil {
			return wire.Reply{}, err
		}
		reply, err := client.Call(ctx, r)
		if errors.Is(err, shim.ErrGone) && try < attempts {
			c.giveUp(client)
			continue
		}
		c.d.trace(ctx, client, reply.Spans)
		if err != nil {
			return reply, c.classify(r, err)
		}
		if r.Op == wire.OpReady || r.Op == wire.OpExec {
			c.noteError("a death of the shim would lose output", c.hold(client, r.Exec, *reply.State))
			mishap.Hit(mishap.RuncHeld)
		}
		return reply, nil
	}
}

// giveUp has the next call connect anew.
func (c *container) giveUp(client *shim.Client) {
	<-client.Gone()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == client {
		c.client, c.process = nil, nil
	}
}

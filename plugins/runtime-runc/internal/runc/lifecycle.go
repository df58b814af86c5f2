package runc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim/wire"
	"github.com/strakehq/strake/sdk/trace"
)

// Create starts a shim, which creates the container.
func (d *Driver) Create(ctx context.Context, r runtime.CreateRequest) (driver.Handle, runtime.State, error) {
	defer d.busy()()
	s, err := d.setup()
	if err == nil {
		err = checkID(string(r.ID))
	}
	if err != nil {
		return driver.Handle{}, runtime.State{}, err
	}
	c := d.reserve(s, r.ID)
	st, err := c.create(ctx, r)
	if errors.Is(err, errNoShim) { // begin anew
		c = d.reserve(s, r.ID)
		st, err = c.create(ctx, r)
	}
	if err != nil {
		return driver.Handle{}, runtime.State{}, err
	}
	return c.handle(), st, nil
}

// reserve returns the container of that name, known or new.
func (d *Driver) reserve(s *setup, id runtime.ContainerID) *container {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, err := d.known(id); err == nil {
		return c
	}
	c := newContainer(d, s, id)
	d.containers[id] = c
	return c
}

func (c *container) create(ctx context.Context, r runtime.CreateRequest) (runtime.State, error) {
	err := c.begin(ctx, r)
	if errors.Is(err, errNoShim) && c.has(wire.ExitFile) {
		return c.remembered("") // created long ago
	}
	if err != nil {
		return runtime.State{}, errors.Join(err, c.discard(ctx))
	}
	reply, err := c.call(ctx, wire.Request{Op: wire.OpReady})
	if err != nil {
		return runtime.State{}, errors.Join(err, c.discard(ctx))
	}
	return c.state("", *reply.State), nil
}

// begin has a shim begin, unless there is one for the same request already.
func (c *container) begin(ctx context.Context, r runtime.CreateRequest) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conf.ID != "" {
		_, err := c.connected(ctx)
		return err // errNoShim: it died while it created; there is no use for what it did
	}
	conf, err := c.setup.config(r)
	if err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	if err := wire.Store(c.file(wire.ConfigFile), conf); err != nil {
		return err
	}
	mishap.Hit(mishap.RuncConfig)
	c.conf = conf
	ctx, end := trace.Start(ctx, "start shim")
	defer func() { end(err) }()
	return c.launch(ctx, false)
}

// config translates a request for the shim.
func (s *setup) config(r runtime.CreateRequest) (wire.Config, error) {
	var spec struct {
		Root  struct{ Path string }
		Linux struct {
			CgroupsPath              string
			MaskedPaths              []string
			Namespaces               []struct{ Type, Path string }
			UIDMappings, GIDMappings []idMapping
		}
		Mounts []specMount
		Hooks  struct{ Prestart, CreateRuntime, CreateContainer, Poststart, Poststop []json.RawMessage }
	}
	if err := wire.Load(filepath.Join(r.Bundle, "config.json"), &spec); err != nil {
		return wire.Config{}, fmt.Errorf("bundle: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	rootfs := spec.Root.Path
	if !filepath.IsAbs(rootfs) {
		rootfs = filepath.Join(r.Bundle, rootfs)
	}
	rt, err := s.ociRuntime(r.Runtime)
	if err != nil {
		return wire.Config{}, err
	}
	if len(spec.Hooks.Poststart)+len(spec.Hooks.Poststop) > 0 {
		rt.Like = ""
	}
	io := wireIO(r.IO)
	io.UID, io.GID = rootOf(spec.Linux.UIDMappings), rootOf(spec.Linux.GIDMappings)
	netns := ""
	for _, n := range spec.Linux.Namespaces {
		if n.Type == "network" {
			netns = n.Path
		}
	}
	conf := wire.Config{
		Version: wire.Version, ID: string(r.ID), Socket: s.socketPrefix(r.ID), Bundle: r.Bundle,
		Rootfs: rootfs, Mounts: r.Rootfs, IO: io, Runtime: rt, Cgroup: spec.Linux.CgroupsPath,
		NetNS: netns, Masked: spec.Linux.MaskedPaths,
	}
	if hooks := len(spec.Hooks.Prestart) + len(spec.Hooks.CreateRuntime) + len(spec.Hooks.CreateContainer); hooks == 0 {
		conf.Writable = writable(spec.Mounts, rootfs, rt.Root, s.dir)
	}
	return conf, nil
}

// idMapping is one of linux.uidMappings or linux.gidMappings.
type idMapping struct{ ContainerID, HostID int }

// rootOf is who the container's root is on the host.
func rootOf(maps []idMapping) int {
	for _, m := range maps {
		if m.ContainerID == 0 {
			return m.HostID
		}
	}
	return 0
}

// ociRuntime says how to call the OCI runtime of a name; empty is the default.
func (s *setup) ociRuntime(name string) (wire.Runtime, error) {
	binary := s.binary
	if name != "" {
		var err error
		if binary, err = lookPath(name); err != nil {
			return wire.Runtime{}, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	root := s.options.Root
	if root == "" {
		root = filepath.Join(s.raw.RunDir, "oci")
	}
	// Runtimes cannot read each other's state.
	root = filepath.Join(root, filepath.Base(binary))
	rt := wire.Runtime{
		Binary: binary, Root: root, Args: append([]string{"--root", root}, s.options.Args...),
	}
	if k := wire.Kind(filepath.Base(binary)); s.options.Shortcuts && !s.options.SystemdCgroup && (k == wire.Runc || k == wire.Crun) {
		rt.Like = k
	}
	if s.options.SystemdCgroup {
		rt.Args = append(rt.Args, "--systemd-cgroup")
	}
	if s.options.NoPivot {
		rt.CreateArgs = append(rt.CreateArgs, "--no-pivot")
	}
	return rt, os.MkdirAll(root, 0o700)
}

func wireIO(o runtime.IO) wire.IO {
	return wire.IO{
		Terminal: o.Terminal, Stdin: o.Stdin, StdinOnce: o.StdinOnce, Width: o.Width, Height: o.Height,
		Log: wire.Log{Path: o.Log.Path, MaxSize: o.Log.MaxSize, MaxFiles: o.Log.MaxFiles, Attrs: o.Log.Attrs},
	}
}

// Start lets the process run.
func (d *Driver) Start(ctx context.Context, id runtime.ContainerID) (runtime.State, error) {
	defer d.busy()()
	c, err := d.get(id)
	if err != nil {
		return runtime.State{}, err
	}
	reply, err := c.living(ctx, wire.Request{Op: wire.OpStart})
	if err != nil {
		return runtime.State{}, err
	}
	return c.state("", *reply.State), nil
}

// living performs a request that needs a container which has not stopped.
func (c *container) living(ctx context.Context, r wire.Request) (wire.Reply, error) {
	reply, err := c.call(ctx, r)
	if errors.Is(err, errNoShim) {
		err = fmt.Errorf("container %s: is stopped: %w", c.id, errdefs.ErrFailedPrecondition)
	}
	return reply, err
}

// Kill sends a signal.
func (d *Driver) Kill(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, signal int, all bool) error {
	c, err := d.get(id)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, wire.Request{Op: wire.OpKill, Exec: string(exec), Signal: signal, All: all})
	if errors.Is(err, errNoShim) {
		return nil // and so is its process
	}
	return err
}

// Pause freezes all processes.
func (d *Driver) Pause(ctx context.Context, id runtime.ContainerID) error {
	return d.simple(ctx, id, wire.Request{Op: wire.OpPause})
}

// Resume thaws all processes.
func (d *Driver) Resume(ctx context.Context, id runtime.ContainerID) error {
	return d.simple(ctx, id, wire.Request{Op: wire.OpResume})
}

func (d *Driver) simple(ctx context.Context, id runtime.ContainerID, r wire.Request) error {
	c, err := d.get(id)
	if err != nil {
		return err
	}
	_, err = c.living(ctx, r)
	return err
}

// Update changes resource limits.
func (d *Driver) Update(ctx context.Context, id runtime.ContainerID, resources json.RawMessage) (err error) {
	c, err := d.get(id)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, "resources-*.json")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(resources)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = c.living(ctx, wire.Request{Op: wire.OpUpdate, Path: f.Name()})
	return err
}

// State returns the present state of the first process or an exec.
func (d *Driver) State(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) (runtime.State, error) {
	c, err := d.get(id)
	if err != nil {
		return runtime.State{}, err
	}
	if exec != "" {
		if err := checkID(string(exec)); err != nil {
			return runtime.State{}, err
		}
	}
	reply, err := c.call(ctx, wire.Request{Op: wire.OpState, Exec: string(exec)})
	if errors.Is(err, errNoShim) {
		return c.remembered(exec)
	}
	if err != nil {
		return runtime.State{}, err
	}
	return c.state(exec, *reply.State), nil
}

// Recover takes back a container of a former process of the driver.
func (d *Driver) Recover(ctx context.Context, id runtime.ContainerID, _ driver.Handle) (runtime.State, error) {
	return d.State(ctx, id, "")
}

// remembered is the state of a process whose shim is gone.
func (c *container) remembered(exec runtime.ExecID) (runtime.State, error) {
	dir := c.dir
	if exec != "" {
		dir = filepath.Join(dir, wire.ExecDir, string(exec))
		if _, err := os.Stat(dir); err != nil {
			return runtime.State{}, fmt.Errorf("container %s: exec %s: not found: %w", c.id, exec, errdefs.ErrNotFound)
		}
	}
	var s wire.State
	if err := wire.Load(filepath.Join(dir, wire.StateFile), &s); err != nil {
		s = wire.State{}
	}
	s.Status, s.Pid, s.Exit = wire.Stopped, 0, &wire.Exit{}
	if err := wire.Load(filepath.Join(dir, wire.ExitFile), s.Exit); err != nil {
		*s.Exit = wire.Exit{Code: 255, At: time.Now()}
	}
	return c.state(exec, s), nil
}

// state translates a state of the shim's.
func (c *container) state(exec runtime.ExecID, s wire.State) runtime.State {
	return runtime.State{
		ID: c.id, Exec: exec, Status: runtime.Status(s.Status), Pid: s.Pid, StartedAt: s.StartedAt, Exit: exitOf(s.Exit),
	}
}

func exitOf(e *wire.Exit) *runtime.Exit {
	if e == nil {
		return nil
	}
	return &runtime.Exit{Code: e.Code, Known: e.Known, At: e.At, OOMKilled: e.OOMKilled}
}

// handleState is the content of a Handle of version 1. The container's
// directory tells the rest.
type handleState struct {
	Runtime wire.Runtime `json:"runtime"`
	Cgroup  string       `json:"cgroup,omitempty"`
}

func (c *container) handle() driver.Handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := json.Marshal(handleState{Runtime: c.conf.Runtime, Cgroup: c.conf.Cgroup})
	if err != nil { // strings only
		c.d.log.Error("encode handle", "container", c.id, "err", err)
	}
	return driver.Handle{Version: 1, State: b}
}

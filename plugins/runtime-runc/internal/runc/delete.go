package runc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim/cgroup"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// discardWithin bounds the removal of what is left of a container.
const discardWithin = 30 * time.Second

// Delete removes what is left of a container.
func (d *Driver) Delete(ctx context.Context, id runtime.ContainerID, force bool) (*runtime.Exit, error) {
	defer d.busy()()
	c, err := d.get(id)
	if errors.Is(err, errdefs.ErrNotFound) {
		s, err := d.setup()
		if err != nil {
			return nil, err
		}
		return nil, os.RemoveAll(filepath.Join(s.dir, string(id)))
	}
	if err != nil {
		return nil, err
	}
	var state runtime.State
	reply, err := c.call(ctx, wire.Request{Op: wire.OpDelete, Force: force})
	switch {
	case errors.Is(err, errNoShim):
		if state, err = c.remembered(""); err == nil {
			err = killRuntimesOf(c.dir)
		}
		if err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case reply.State != nil:
		state = c.state("", *reply.State)
	}
	return state.Exit, c.remove(ctx)
}

// discard ends and removes whatever there is of a container, shim included.
func (c *container) discard(ctx context.Context) error {
	c.gone.Store(true)
	return errors.Join(killShimsOf(c.dir), c.remove(ctx))
}

// remove removes all that outlives the shim.
func (c *container) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardWithin)
	defer cancel()
	c.mu.Lock()
	conf := c.conf
	c.mu.Unlock()
	c.gone.Store(true)
	if err := c.keep.dropAll(); err != nil {
		return err
	}
	err := deleteInRuntime(ctx, conf.Runtime, string(c.id))
	mishap.Hit(mishap.RuncDeleted)
	err = errors.Join(err, removeCgroups(conf.Cgroup, string(c.id)))
	mishap.Hit(mishap.RuncCgroups)
	if err != nil {
		return fmt.Errorf("container %s: clean up: %w", c.id, err)
	}
	if err := os.Remove(c.setup.socketPrefix(c.id) + ".ctl"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	mishap.Hit(mishap.RuncErased)
	c.d.events.forget(c.id, "")
	c.d.drop(c.id)
	return nil
}

// removeCgroups kills what is left in a container's cgroups and removes them.
func removeCgroups(path, id string) error {
	dirs, err := cgroup.Named(path, id)
	if err != nil || len(dirs) == 0 {
		return err
	}
	return cgroup.Remove(dirs, discardWithin)
}

// deleteInRuntime has the OCI runtime forget a container that it remembers.
func deleteInRuntime(ctx context.Context, rt wire.Runtime, id string) error {
	state := filepath.Join(rt.Root, id)
	if _, err := os.Stat(state); rt.Root == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	args := append(append([]string{}, rt.Args...), "delete", "--force", id)
	out, err := exec.CommandContext(ctx, rt.Binary, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	// A runtime that was killed half-way does not know what it has begun.
	if rerr := os.RemoveAll(state); rerr != nil {
		return fmt.Errorf("%s delete: %w: %s", filepath.Base(rt.Binary), errors.Join(err, rerr), strings.TrimSpace(string(out)))
	}
	return nil
}

// Collect removes what the caller does not know.
func (d *Driver) Collect(ctx context.Context, keep []runtime.ContainerID) error {
	s, err := d.setup()
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, id := range keep {
		kept[string(id)] = true
	}
	// All of it is listed before any of it is removed: what is created
	// meanwhile stays.
	left, err := s.leftovers(kept)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range left.containers {
		errs = append(errs, d.reserve(s, id).discard(ctx))
	}
	errs = append(errs, killShims(left.shims))
	for _, path := range left.sockets {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, c := range left.remembered {
		errs = append(errs, deleteInRuntime(ctx, c.runtime, c.id))
	}
	return errors.Join(errs...)
}

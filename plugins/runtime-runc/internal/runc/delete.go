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

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim/cgroup"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// discardWithin bounds the removal of what is left of a container.
const discardWithin = 30 * time.Second

// Delete removes what is left of a container.
func (d *Driver) Delete(ctx context.Context, id runtime.ContainerID, force bool) (*runtime.Exit, error) {
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
		if state, err = c.remembered(""); err != nil {
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
	return errors.Join(killShims(c.dir), c.remove(ctx))
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
	err := errors.Join(deleteInRuntime(ctx, conf.Runtime, string(c.id)), removeCgroups(conf.Cgroup, string(c.id)))
	if err != nil {
		return fmt.Errorf("container %s: clean up: %w", c.id, err)
	}
	if err := os.Remove(c.setup.socketPrefix(c.id) + ".ctl"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
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
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !kept[e.Name()] {
			errs = append(errs, d.reserve(s, runtime.ContainerID(e.Name())).discard(ctx))
		}
	}
	return errors.Join(append(errs, killOrphans(s, kept), s.sweepSockets(kept), s.sweepRuntimes(ctx, kept))...)
}

// sweepSockets removes sockets of no container.
func (s *setup) sweepSockets(kept map[string]bool) error {
	prefixes := map[string]bool{}
	for id := range kept {
		prefixes[filepath.Base(s.socketPrefix(runtime.ContainerID(id)))] = true
	}
	entries, err := os.ReadDir(s.sockets)
	for _, e := range entries {
		if prefix, _, _ := strings.Cut(e.Name(), "."); !prefixes[prefix] {
			err = errors.Join(err, os.Remove(filepath.Join(s.sockets, e.Name())))
		}
	}
	return err
}

// sweepRuntimes has OCI runtimes delete what they remember of no container.
func (s *setup) sweepRuntimes(ctx context.Context, kept map[string]bool) error {
	rt, err := s.ociRuntime("")
	if err != nil {
		return err
	}
	roots, err := os.ReadDir(filepath.Dir(rt.Root))
	for _, r := range roots {
		binary, lerr := lookPath(r.Name())
		if lerr != nil {
			binary = s.binary // its name differs only by path
		}
		of := wire.Runtime{Binary: binary, Root: filepath.Join(filepath.Dir(rt.Root), r.Name())}
		of.Args = []string{"--root", of.Root}
		ids, rerr := os.ReadDir(of.Root)
		err = errors.Join(err, rerr)
		for _, id := range ids {
			if !kept[id.Name()] {
				err = errors.Join(err, deleteInRuntime(ctx, of, id.Name()))
			}
		}
	}
	return err
}

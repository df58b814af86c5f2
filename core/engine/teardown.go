package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
)

// Teardown undoes what outlives a daemon: it removes all containers, and has
// the drivers remove all networks, rules and processes. Images and volumes
// stay. No daemon may be running on the state directory.
func Teardown(ctx context.Context, c *config.Config, log hclog.Logger) (err error) {
	e := newEngine(c, log)
	defer func() {
		if err = errors.Join(err, e.close()); err == nil {
			err = removeRunDir(c.RunDir)
		}
	}()
	if err := e.start(ctx); err != nil {
		return err
	}
	if err := e.recover(ctx); err != nil {
		return err
	}
	err = e.each(ctx, true, func(id string) error {
		return e.containers.Remove(ctx, id, containers.RemoveOptions{Force: true, Volumes: true})
	})
	return errors.Join(err, e.collectDrivers(ctx), removeCgroups(c.CgroupParent))
}

// removeRunDir removes what the daemon keeps in its run directory, by name: a
// directory that is shared with others loses nothing of theirs.
func removeRunDir(dir string) error {
	for _, name := range []string{"drivers", "netns", "network", "plug", "strake.sock"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// each runs f for every container, or every running one, side by side.
func (e *Engine) each(ctx context.Context, all bool, f func(id string) error) error {
	list, err := e.containers.List(ctx, containers.ListOptions{All: all})
	if err != nil {
		return err
	}
	errs := make([]error, len(list))
	var g errgroup.Group
	g.SetLimit(16)
	for i, c := range list {
		g.Go(func() error {
			if err := f(c.ID); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsNotModified(err) {
				errs[i] = fmt.Errorf("container %.12s: %w", c.ID, err)
			}
			return nil
		})
	}
	return errors.Join(append(errs, g.Wait())...)
}

// collectDrivers has all drivers remove what belongs to nobody, which is all.
func (e *Engine) collectDrivers(ctx context.Context) error {
	all, err := e.drivers.Drivers(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range all {
		switch driver.Kind(d.Kind) {
		case driver.Network:
			n, err := e.drivers.Network(d.Name)
			if err == nil {
				err = n.Collect(ctx, nil, nil)
			}
			errs = append(errs, err)
		case driver.Runtime:
			r, _, _, err := e.drivers.Runtime(d.Name)
			if err == nil {
				err = r.Collect(ctx, nil)
			}
			errs = append(errs, err)
		case driver.Storage, driver.Registry: // nothing of theirs is in the kernel
		}
	}
	return errors.Join(errs...)
}

// removeCgroups removes the containers' parent cgroup from all hierarchies.
func removeCgroups(parent string) error {
	roots, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range append(roots, "/sys/fs/cgroup") {
		if err := os.Remove(filepath.Join(r, parent)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

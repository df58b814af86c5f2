// Package overlay is the storage driver that stacks layers with overlayfs.
//
// # On disk
//
//	<root>/lock                one process at a time
//	<root>/synced              symbolic link: the last commit that is durable
//	<root>/empty/              a layer of nothing
//	<root>/snapshots/<n>/      one snapshot; ".new-<n>" while it is made
//	    record                 symbolic link whose text is the record
//	    fs/                    the layer, or the upper directory
//	    work/                  overlayfs's own
//	    pending                what Commit has to settle, once the parent is
//	                           known
//	<root>/trash/<n>/          removed, to be deleted in the background
//
// A snapshot appears, changes its kind and disappears with one rename each, so
// that a process may be killed at any point. Records are symbolic links because
// their text is part of the file system's journal: a power cut leaves all of a
// record or nothing, without an fsync in the way of a container's start. See
// docs/decisions/0017.
package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/storage"
)

// Name is what config files call the driver.
const Name = "overlay"

// Driver is the storage driver. Make one with New.
type Driver struct {
	log     hclog.Logger
	version string
	health  *health

	mu    sync.Mutex
	conf  *driver.Config // guarded by mu
	store *store         // guarded by mu; nil before Configure
}

var (
	_ storage.Driver  = (*Driver)(nil)
	_ storage.Applier = (*Driver)(nil)
	_ storage.Differ  = (*Driver)(nil)
)

// New returns a driver that is not configured yet.
func New(version string, log hclog.Logger) *Driver {
	return &Driver{version: version, log: log.Named("overlay"), health: newHealth()}
}

// Info returns the driver's identity.
func (d *Driver) Info(context.Context) (driver.Info, error) {
	return driver.Info{
		Kind:          driver.Storage,
		Name:          Name,
		Version:       d.version,
		Capabilities:  []driver.Capability{storage.CapApply, storage.CapDiff},
		OptionsSchema: optionsSchema(),
	}, nil
}

// Configure opens the state, proves that overlayfs works on it and begins to
// delete what was removed.
func (d *Driver) Configure(ctx context.Context, c driver.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conf != nil {
		if reflect.DeepEqual(*d.conf, c) {
			return nil
		}
		return fmt.Errorf("driver %s: configure: %w: it is configured with other values; launch it anew", Name, errdefs.ErrFailedPrecondition)
	}
	o, err := parseOptions(c)
	if err != nil {
		return fmt.Errorf("driver %s: options: %w", Name, err)
	}
	s, err := openStore(ctx, o, d.log)
	if err != nil {
		d.health.set(driver.Health{Status: driver.Failed, Reason: err.Error()})
		return fmt.Errorf("driver %s: configure: %w", Name, err)
	}
	d.store, d.conf = s, &c
	d.health.set(driver.Health{Status: driver.Ready})
	return nil
}

// WatchHealth reports Failed with the reason while Configure did not succeed.
func (d *Driver) WatchHealth(ctx context.Context, report func(driver.Health)) error {
	d.health.watch(ctx, report)
	return nil
}

// Shutdown stops the deletion of what was removed; the next start goes on.
func (d *Driver) Shutdown(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		return nil
	}
	err := d.store.close()
	d.store, d.conf = nil, nil
	return err
}

// use returns the store, for one call.
func (d *Driver) use() (*store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		return nil, fmt.Errorf("driver %s: %w: it is not configured", Name, errdefs.ErrFailedPrecondition)
	}
	return d.store, nil
}

// makeDirs makes the directories of the layout.
func makeDirs(root string) error {
	for _, dir := range []string{"snapshots", "trash", "empty"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(filepath.Join(root, "empty"), 0o755), spread(filepath.Join(root, "snapshots")))
}

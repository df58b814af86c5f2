package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/plugins/net-bridge/internal/link"
	"github.com/strakehq/strake/sdk/network"
)

// watchLinks puts back bridges and links that somebody else has deleted, set
// down or taken off their bridge.
func (d *Driver) watchLinks(ctx context.Context) {
	changed := make(chan struct{}, 1)
	d.work.start(func(ctx context.Context) {
		for {
			err := d.links.Watch(ctx, d.unwanted, changed)
			if ctx.Err() != nil {
				return
			}
			// What was missed meanwhile is looked for.
			d.log.Warn("changes to links were missed", "err", err)
			if !pause(ctx, checkEvery) {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		if !pause(ctx, settleTime) {
			return
		}
		if err := d.mend(ctx); err != nil {
			d.log.Error("links cannot all be repaired", "err", err)
		}
	}
}

// unwanted says whether a change is one that nobody but a stranger makes.
func (d *Driver) unwanted(c link.Change) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if n.Bridge == c.Name {
			return c.Gone || !c.Up
		}
	}
	for id := range d.linked {
		if e := d.endpoints[id]; e != nil && e.Host == c.Name {
			return c.Gone || c.Master == 0 || !c.Up
		}
	}
	return false
}

// mend makes bridges and links what the records say.
func (d *Driver) mend(ctx context.Context) error {
	mended, err := d.mendBridges()
	have, listErr := d.links.Ports()
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	errs := []error{err}
	for _, id := range d.linkedIDs() {
		e, n, err := d.endpoint(id)
		if err != nil { // it has left
			continue
		}
		if p, ok := have[e.Host]; ok && p.Up && p.Master == have[n.Bridge].Index {
			continue
		}
		if err := d.mendLink(e, n); err != nil {
			errs = append(errs, err)
			continue
		}
		mended = append(mended, e.Host)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if len(mended) > 0 {
		d.log.Warn("links had been changed by somebody else and were put back", "links", mended)
	}
	return errors.Join(errs...)
}

func (d *Driver) mendBridges() (mended []string, err error) {
	d.networking.Lock()
	defer d.networking.Unlock()
	have, err := d.links.Ports()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	networks := maps.Clone(d.networks)
	d.mu.Unlock()
	var errs []error
	for id, n := range networks {
		if have[n.Bridge].Up {
			continue
		}
		if err := d.links.EnsureBridge(n.bridge()); err != nil {
			errs = append(errs, fmt.Errorf("network %s: %w", id, err))
			continue
		}
		mended = append(mended, n.Bridge)
	}
	return mended, errors.Join(errs...)
}

// mendLink makes an endpoint's link anew, unless it leaves meanwhile. A
// namespace that is gone has no use for one.
func (d *Driver) mendLink(e *endpoint, n *netState) error {
	err := d.links.EnsureVeth(e.veth(n))
	if errdefs.IsNotFound(err) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", e.Want.Endpoint, err)
	}
	if _, _, err := d.endpoint(e.Want.Endpoint); err != nil {
		return d.links.Delete(e.Host)
	}
	return nil
}

func (d *Driver) linkedIDs() []network.EndpointID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.linked))
}

func (d *Driver) setLinked(id network.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.endpoints[id]; e != nil && !e.Leaving {
		d.linked[id] = true
	}
}

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
			d.suspectAll()
			wake(changed)
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
		err := d.mend(ctx)
		if err == nil {
			continue
		}
		d.log.Error("links cannot all be repaired", "err", err)
		if !pause(ctx, checkEvery) {
			return
		}
		wake(changed) // once more
	}
}

// wake signals without waiting: a signal that nobody has taken yet stands for all
// that follow.
func wake(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// unwanted says whether a change is one that nobody but a stranger makes, and
// keeps in mind of what. The kernel tells late: it may be of a link's making. Of a
// bridge that was deleted it tells for each link that the bridge let go, too.
func (d *Driver) unwanted(c link.Change) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.amiss(c) {
		return false
	}
	d.suspect[c.Name] = true
	return true
}

// amiss is called with mu held.
func (d *Driver) amiss(c link.Change) bool {
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

func (d *Driver) suspectAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		d.suspect[n.Bridge] = true
	}
	for id := range d.linked {
		if e := d.endpoints[id]; e != nil {
			d.suspect[e.Host] = true
		}
	}
}

// suspects hands over the names of links to look at.
func (d *Driver) suspects() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.suspect
	d.suspect = map[string]bool{}
	return s
}

// mend makes the bridges and links that are suspected what the records say. When
// it fails they stay suspected.
func (d *Driver) mend(ctx context.Context) (err error) {
	suspects := d.suspects()
	defer func() {
		if err != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			maps.Copy(d.suspect, suspects)
		}
	}()
	mended, err := d.mendBridges(suspects)
	errs := []error{err}
	for _, id := range d.linkedIDs() {
		e, n, err := d.endpoint(id)
		if err != nil || !suspects[e.Host] { // it has left, or is well
			continue
		}
		have, err := d.links.Ports(e.Host, n.Bridge)
		if err != nil {
			errs = append(errs, err)
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

func (d *Driver) mendBridges(suspects map[string]bool) (mended []string, err error) {
	d.networking.Lock()
	defer d.networking.Unlock()
	d.mu.Lock()
	networks := maps.Clone(d.networks)
	d.mu.Unlock()
	var errs []error
	for id, n := range networks {
		if !suspects[n.Bridge] {
			continue
		}
		have, err := d.links.Ports(n.Bridge)
		if err != nil {
			errs = append(errs, err)
			continue
		}
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

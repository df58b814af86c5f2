package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/network"
)

// Detach takes away rules and ports, and has the link deleted after the
// answer. Until then the address stays taken.
func (d *Driver) Detach(ctx context.Context, id network.EndpointID) error {
	if err := d.configured(); err != nil {
		return err
	}
	// Rules first: killed after that, the next process writes them again and
	// the call is repeated.
	if err := d.rules.SetForwards(ctx, id, nil); err != nil {
		return fmt.Errorf("endpoint %s: detach: %w", id, err)
	}
	e, err := d.leave(id)
	if e == nil || err != nil {
		return err
	}
	if err := d.ports.Release(id); err != nil {
		d.log.Warn("a port's socket cannot be closed", "endpoint", id, "err", err)
	}
	d.work.later(func(ctx context.Context) { d.finish(ctx, e) })
	return nil
}

// leave marks the endpoint as leaving; nil when it is gone or on its way.
func (d *Driver) leave(id network.EndpointID) (*endpoint, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	have, ok := d.endpoints[id]
	if !ok || have.Leaving {
		return nil, nil
	}
	e := *have
	e.Leaving = true
	if err := d.epDir.Put(string(id), &e); err != nil {
		return nil, fmt.Errorf("endpoint %s: detach: record: %w", id, err)
	}
	d.endpoints[id] = &e
	delete(d.linked, id)
	return &e, nil
}

// finish deletes the link and forgets the endpoint. When it cannot, the record
// stays for the next process or Collect.
func (d *Driver) finish(ctx context.Context, e *endpoint) {
	id := e.Want.Endpoint
	d.forgetFlows(e)
	err := d.deleteLink(ctx, e.Host)
	mishap.Hit(mishap.BridgeUnlinked)
	if err == nil {
		err = d.forget(e)
	}
	if err != nil {
		d.log.Error("endpoint left something behind, it will be tried again at the next start", "endpoint", id, "link", e.Host, "err", err)
		d.giveUp(e)
	}
}

// giveUp marks the endpoint as stuck and wakes who waits for it.
func (d *Driver) giveUp(e *endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.endpoints[e.Want.Endpoint] != e {
		return
	}
	stuck := *e
	stuck.stuck = true
	d.endpoints[e.Want.Endpoint] = &stuck
	close(d.freed)
	d.freed = make(chan struct{})
}

// deleteLink tries a few times: the namespace's own end may take the link away
// meanwhile.
func (d *Driver) deleteLink(ctx context.Context, name string) error {
	const tries = 3
	for try := 1; ; try++ {
		err := d.links.Delete(name)
		if err == nil || try == tries {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// forget drops the record, frees the address and wakes who waits for it.
func (d *Driver) forget(e *endpoint) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := e.Want.Endpoint
	if d.endpoints[id] != e {
		return nil
	}
	if err := d.epDir.Delete(string(id)); err != nil {
		return err
	}
	delete(d.endpoints, id)
	close(d.freed)
	d.freed = make(chan struct{})
	return nil
}

// SetNames replaces the names of an endpoint.
func (d *Driver) SetNames(_ context.Context, id network.EndpointID, names []string) error {
	if err := d.configured(); err != nil {
		return err
	}
	have, _, err := d.endpoint(id)
	if err != nil {
		return err
	}
	e := *have
	e.Want.Names = slices.Clone(names)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.epDir.Put(string(id), &e); err != nil {
		return fmt.Errorf("endpoint %s: set names: record: %w", id, err)
	}
	d.endpoints[id] = &e
	return nil
}

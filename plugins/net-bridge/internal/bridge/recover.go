package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/network"
)

// Recover takes back an attachment, from the driver's own record or, when that
// is lost, from the handle.
func (d *Driver) Recover(ctx context.Context, a network.Attachment) (network.Attachment, error) {
	if err := d.configured(); err != nil {
		return network.Attachment{}, err
	}
	e, n, err := d.endpoint(a.Endpoint)
	if errdefs.IsNotFound(err) {
		e, n, err = d.adopt(a)
	}
	if err != nil {
		return network.Attachment{}, err
	}
	if err := d.realize(ctx, n, e); err != nil {
		return network.Attachment{}, fmt.Errorf("endpoint %s: recover: %w", a.Endpoint, err)
	}
	return e.attachment(n)
}

// adopt makes a record from a handle.
func (d *Driver) adopt(a network.Attachment) (*endpoint, *netState, error) {
	if a.Handle.Version != handleVersion {
		return nil, nil, fmt.Errorf("endpoint %s: recover: handle has version %d, this driver reads %d: %w", a.Endpoint, a.Handle.Version, handleVersion, errdefs.ErrInvalidArgument)
	}
	e := &endpoint{}
	if err := json.Unmarshal(a.Handle.State, e); err != nil {
		return nil, nil, fmt.Errorf("endpoint %s: recover: handle is unreadable: %w: %w", a.Endpoint, err, errdefs.ErrInvalidArgument)
	}
	n, err := d.network(e.Want.Network)
	if err != nil {
		return nil, nil, fmt.Errorf("endpoint %s: recover: %w", a.Endpoint, err)
	}
	if e.Want.Endpoint != a.Endpoint || e.Boot != d.boot {
		return nil, nil, fmt.Errorf("endpoint %s: recover: it is of another boot of this machine, attach it anew: %w", a.Endpoint, errdefs.ErrNotFound)
	}
	if err := d.insert(n, e); err != nil {
		return nil, nil, fmt.Errorf("endpoint %s: recover: %w", a.Endpoint, err)
	}
	return e, n, nil
}

func (d *Driver) insert(n *netState, e *endpoint) error {
	id := e.Want.Endpoint
	d.mu.Lock()
	defer d.mu.Unlock()
	if have, ok := d.endpoints[id]; ok && have.Leaving {
		return fmt.Errorf("it was detached: %w", errdefs.ErrNotFound)
	}
	if _, _, err := d.address(n, e.Address.Addr()); err != nil {
		return err
	}
	if _, err := d.ports.Reserve(id, e.Ports); err != nil {
		return err
	}
	e.Leaving = false
	if err := d.epDir.Put(string(id), e); err != nil {
		return errors.Join(fmt.Errorf("record: %w", err), d.ports.Release(id))
	}
	d.endpoints[id] = e
	return nil
}

// Check looks at link and rules.
func (d *Driver) Check(ctx context.Context, id network.EndpointID) error {
	if err := d.configured(); err != nil {
		return err
	}
	e, n, err := d.endpoint(id)
	if err != nil {
		return err
	}
	if err := d.links.CheckVeth(e.veth(n)); err != nil {
		return fmt.Errorf("endpoint %s: check: %w", id, err)
	}
	if err := d.rules.Check(ctx, e.forwards()); err != nil {
		return fmt.Errorf("endpoint %s: check: %w", id, err)
	}
	return nil
}

// Collect removes what is not named: endpoints, then networks, then links that
// carry the driver's mark and belong to no record. It waits for links that are
// on their way out.
func (d *Driver) Collect(ctx context.Context, networks []network.NetworkID, endpoints []network.EndpointID) error {
	if err := d.configured(); err != nil {
		return err
	}
	keep := map[network.EndpointID]bool{}
	for _, id := range endpoints {
		keep[id] = true
	}
	var errs []error
	for _, id := range d.ids() {
		if !keep[id] {
			errs = append(errs, d.Detach(ctx, id))
		}
	}
	keepNet := map[network.NetworkID]bool{}
	for _, id := range networks {
		keepNet[id] = true
	}
	for _, id := range d.networkIDs() {
		if keepNet[id] {
			continue
		}
		errs = append(errs, d.detachAll(ctx, id), d.RemoveNetwork(ctx, id))
	}
	errs = append(errs, d.collectLinks(keepNet, keep), d.drained(ctx))
	return errors.Join(errs...)
}

// drained waits until no endpoint is leaving.
func (d *Driver) drained(ctx context.Context) error {
	for {
		d.mu.Lock()
		left := ""
		for id, e := range d.endpoints {
			if e.Leaving && !e.stuck {
				left = string(id)
			}
		}
		freed := d.freed
		d.mu.Unlock()
		if left == "" {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("endpoint %s: wait until its link is gone: %w", left, ctx.Err())
		}
	}
}

func (d *Driver) networkIDs() []network.NetworkID {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []network.NetworkID
	for id := range d.networks {
		out = append(out, id)
	}
	return out
}

// detachAll detaches the endpoints of a network that goes, named or not.
func (d *Driver) detachAll(ctx context.Context, id network.NetworkID) error {
	for busy := d.busy(id); busy != ""; busy = d.busy(id) {
		if err := d.Detach(ctx, busy); err != nil {
			return err
		}
	}
	return nil
}

// collectLinks deletes links of nobody. Those of named endpoints stay also when
// their record is lost: Recover brings it back.
func (d *Driver) collectLinks(networks map[network.NetworkID]bool, endpoints map[network.EndpointID]bool) error {
	owned, err := d.links.Owned()
	if err != nil {
		return err
	}
	for name, tag := range owned {
		id, isEndpoint := strings.CutPrefix(tag, endpointTag)
		net, isNetwork := strings.CutPrefix(tag, networkTag)
		if isEndpoint && endpoints[network.EndpointID(id)] || isNetwork && networks[network.NetworkID(net)] {
			delete(owned, name)
		}
	}
	d.mu.Lock()
	for _, n := range d.networks {
		delete(owned, n.Bridge)
	}
	for _, e := range d.endpoints {
		delete(owned, e.Host) // those that leave are being deleted
	}
	d.mu.Unlock()
	var errs []error
	for name := range owned {
		errs = append(errs, d.links.Delete(name))
	}
	return errors.Join(errs...)
}

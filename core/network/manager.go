// Package network owns networks and what joins containers to them: the records
// of networks, the containers' network namespaces, the mapping between Docker's
// words and those of network drivers.
//
// Networks are records in the store. An attachment is kernel state that a
// reboot ends, so its record is a file in the run directory, written before
// anything is made and again when it is done; no disk is waited for on the way
// of `run`. What a killed daemon left half made is found from these records,
// the pinned namespaces beside them and the drivers' own Collect.
package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/store"
	sdk "github.com/strakehq/strake/sdk/network"
)

// Drivers hands out network drivers by the name that a user gave; empty is the
// default. The values stay valid when a driver is relaunched.
type Drivers interface {
	Network(name string) (sdk.Driver, error)
}

// Events publishes what happened.
type Events interface {
	Publish(t events.Type, a events.Action, id string, attrs map[string]string)
}

// Options are what a Manager needs.
type Options struct {
	Log     hclog.Logger
	Store   *store.Store
	Drivers Drivers
	Events  Events
	// RunDir is the daemon's run directory. Namespaces are pinned in its
	// sub-directory netns, attachments recorded in its sub-directory network.
	RunDir string
	// ResolvConf is the host's resolver configuration; empty:
	// /etc/resolv.conf.
	ResolvConf string
}

// Manager owns all networks of a daemon. It is safe for concurrent use; calls
// about one container are serialized by the caller.
type Manager struct {
	log        hclog.Logger
	store      *store.Store
	drivers    Drivers
	events     Events
	boot       string
	resolvConf string
	pins       pins
	files      files

	// building serializes making and removing networks.
	building sync.Mutex

	mu sync.Mutex
	// defaultDriver is the default driver's own name. guarded by mu
	defaultDriver string
	networks      map[string]record      // guarded by mu; by id
	attachments   map[string]*attachment // guarded by mu; by container id, values do not change
	// changing are endpoints whose records are not true for the moment.
	changing map[sdk.EndpointID]bool // guarded by mu
}

var _ container.Networks = (*Manager)(nil)

// New makes a manager and reads its records. Nothing is changed before Start.
func New(o Options) (*Manager, error) {
	m := &Manager{
		log: o.Log, store: o.Store, drivers: o.Drivers, events: o.Events, boot: o.Store.BootID(),
		resolvConf: o.ResolvConf, pins: pins{dir: filepath.Join(o.RunDir, "netns")},
		files: files{dir: filepath.Join(o.RunDir, "network")}, networks: map[string]record{}, attachments: map[string]*attachment{}, changing: map[sdk.EndpointID]bool{},
	}
	if m.resolvConf == "" {
		m.resolvConf = "/etc/resolv.conf"
	}
	for _, dir := range []string{m.pins.dir, m.files.dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("networks: %w", err)
		}
	}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("networks: read records: %w", err)
	}
	return m, nil
}

func (m *Manager) load() error {
	err := m.store.View(func(tx *store.Tx) error {
		return table().Each(tx, func(id string, r record) error {
			m.networks[id] = r
			return nil
		})
	})
	if err != nil {
		return err
	}
	return m.files.each(func(a *attachment) error {
		if a.Boot != m.boot {
			return m.files.remove(a.ID)
		}
		m.attachments[a.ID] = a
		return nil
	})
}

// Start makes the predefined networks, has the drivers make or repair all
// others, and clears what a killed daemon left half made. Call it when the
// drivers are ready and before the first Attach or Recover. A driver that is
// not ready costs its own networks, which its return makes good (Recovered).
func (m *Manager) Start(ctx context.Context) error {
	if err := m.pins.open(); err != nil {
		return fmt.Errorf("networks: %w", err)
	}
	if err := m.predefine(ctx); err != nil {
		return fmt.Errorf("networks: %w", err)
	}
	if err := m.undoUnfinished(ctx); err != nil {
		m.log.Error("attachments that were being made cannot be undone", "err", err)
	}
	if err := m.ensureAll(ctx, func(record) bool { return true }); err != nil {
		m.log.Error("not all networks can be made ready", "err", err)
	}
	if err := m.collect(ctx); err != nil {
		m.log.Error("leftovers cannot all be removed", "err", err)
	}
	return nil
}

// Close lets go of the directory of namespaces when none is pinned. Networks
// and attachments stay.
func (m *Manager) Close() error { return m.pins.close() }

// undoUnfinished takes back what has no record of being done.
func (m *Manager) undoUnfinished(ctx context.Context) error {
	var errs []error
	for _, a := range m.allAttachments() {
		if !a.Done {
			errs = append(errs, m.Detach(ctx, a.ID))
			continue
		}
		errs = append(errs, m.unjoin(ctx, *a))
	}
	return errors.Join(errs...)
}

// unjoin takes a container that runs on out of networks that a killed daemon was
// having it join: they are on record, and nobody was told.
func (m *Manager) unjoin(ctx context.Context, a attachment) error {
	var errs []error
	rest := slices.DeleteFunc(slices.Clone(a.Endpoints), func(e endpoint) bool {
		if e.builtin() || e.Made.Endpoint != "" {
			return false
		}
		err := m.leave(ctx, &e)
		errs = append(errs, err)
		return err == nil
	})
	if len(rest) < len(a.Endpoints) {
		a.Endpoints = rest
		errs = append(errs, m.note(a))
	}
	return errors.Join(errs...)
}

// ensureAll has drivers make or repair the networks that are wanted.
func (m *Manager) ensureAll(ctx context.Context, want func(record) bool) error {
	var errs []error
	for _, r := range m.all() {
		if r.builtin() || !want(r) {
			continue
		}
		if _, err := m.ensure(ctx, r); err != nil {
			errs = append(errs, fmt.Errorf("network %s: %w", r.Name, err))
		}
	}
	return errors.Join(errs...)
}

// collect has every driver remove what no record names, and unpins namespaces
// without record.
func (m *Manager) collect(ctx context.Context) error {
	networks := map[string][]sdk.NetworkID{"": nil} // the default driver, with or without networks
	endpoints := map[string][]sdk.EndpointID{}
	for _, r := range m.all() {
		if !r.builtin() {
			networks[r.DriverKey] = append(networks[r.DriverKey], sdk.NetworkID(r.ID))
		}
	}
	keep := map[string]bool{}
	for _, a := range m.allAttachments() {
		keep[a.ID] = true
		for _, e := range a.Endpoints {
			endpoints[e.DriverKey] = append(endpoints[e.DriverKey], e.Request.Endpoint)
		}
	}
	errs := []error{m.pins.sweep(keep)}
	for name, ids := range networks {
		d, err := m.drivers.Network(name)
		if err == nil {
			err = d.Collect(ctx, ids, endpoints[name])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("network driver %q: collect: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Keep detaches every container that does not exist: those whose records were
// lost. Those that ended while no daemon ran are detached by their manager.
func (m *Manager) Keep(ctx context.Context, exists func(container string) bool) error {
	var errs []error
	for _, a := range m.allAttachments() {
		if !exists(a.ID) {
			errs = append(errs, m.Detach(ctx, a.ID))
		}
	}
	return errors.Join(errs...)
}

// Recovered is to be called when a network driver was launched again, with the
// name that the configuration gives it: it replays networks and attachments.
func (m *Manager) Recovered(ctx context.Context, name string) error {
	err := m.ensureAll(ctx, func(r record) bool { return r.servedBy(name) })
	for _, a := range m.allAttachments() {
		for _, e := range a.Endpoints {
			if e, ok := m.settled(a.ID, e.Request.Endpoint); ok && e.servedBy(name) {
				err = errors.Join(err, m.recoverEndpoint(ctx, a.ID, e))
			}
		}
	}
	return err
}

// settled is an endpoint as it is on record now, if the record is true.
func (m *Manager) settled(container string, id sdk.EndpointID) (e endpoint, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.attachments[container]
	if a == nil || !a.Done || m.changing[id] {
		return endpoint{}, false
	}
	i := slices.IndexFunc(a.Endpoints, func(e endpoint) bool { return e.Request.Endpoint == id })
	if i < 0 {
		return endpoint{}, false
	}
	return a.Endpoints[i], true
}

// change keeps Recovered from putting endpoints back as they were: the driver
// may be launched again after it has changed them, and before the record says
// so. Call done after that.
func (m *Manager) change(es ...endpoint) (done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range es {
		m.changing[e.Request.Endpoint] = true
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, e := range es {
			delete(m.changing, e.Request.Endpoint)
		}
	}
}

func (m *Manager) recoverEndpoint(ctx context.Context, id string, e endpoint) error {
	d, err := m.drivers.Network(e.DriverKey)
	if err != nil {
		return err
	}
	if _, err := d.Recover(ctx, e.Made); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("container %s: network %s: recover: %w", id, e.Network, err)
	}
	return nil
}

func (m *Manager) publish(a events.Action, r record, container string) {
	attrs := map[string]string{"name": r.Name, "type": r.Driver}
	if container != "" {
		attrs["container"] = container
	}
	m.events.Publish(events.NetworkEventType, a, r.ID, attrs)
}

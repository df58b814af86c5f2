// Package driver is the plugin host: it finds, launches, configures and watches
// the drivers that the configuration names, relaunches those that die or hang,
// and hands out values of the four contracts that stay valid all the while.
//
// A driver process lives as long as the daemon at most. Its death costs the
// calls in flight at worst: one that may be repeated is repeated on the next
// process, after the core's hooks (OnRecovered) have handed it back what the
// former process had made. A driver that cannot be launched makes its kind
// unavailable, and every call says why; the daemon stays up and tries again
// with growing delays.
package driver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/api/drivers"
	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

// Host runs the drivers of one configuration. It is safe for concurrent use.
type Host struct {
	config    *config.Config
	log       hclog.Logger
	timing    timing
	instances []*instance // fixed by New
	stop      context.CancelFunc
	running   sync.WaitGroup // of supervisors

	mu        sync.Mutex
	recovered map[driver.Kind][]Hook // guarded by mu
}

// Hook hands a relaunched driver back what its former process had made. name
// is the driver's. Only calls with the hook's context reach the driver until
// all hooks have returned.
type Hook func(ctx context.Context, name string) error

// New makes a host for a validated configuration.
func New(c *config.Config, logger hclog.Logger) *Host { return newHost(c, logger, specs(c)) }

func newHost(c *config.Config, logger hclog.Logger, wanted []spec) *Host {
	h := &Host{config: c, log: logger, timing: patience(), stop: func() {}, recovered: map[driver.Kind][]Hook{}}
	for _, s := range wanted {
		h.instances = append(h.instances, newInstance(h, s))
	}
	return h
}

// Start launches all drivers side by side and returns when each is ready or has
// failed for the first time. It fails only for what a look at the configuration
// can mend: then nothing runs. Drivers that failed otherwise are tried again
// until Close.
func (h *Host) Start(ctx context.Context) error {
	if err := h.prepareDirs(); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	first := make(chan error, len(h.instances))
	for _, in := range h.instances {
		h.running.Go(func() { in.supervise(run, first) })
	}
	var wrong []error
	for range h.instances {
		var c configError
		if err := <-first; errors.As(err, &c) {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) > 0 {
		h.Close()
		return errors.Join(wrong...)
	}
	return nil
}

// Close ends all drivers in good order. What containers need stays.
func (h *Host) Close() {
	h.stop()
	h.running.Wait()
}

// configError marks what a relaunch cannot mend.
type configError struct{ error }

// Unwrap returns the error itself.
func (e configError) Unwrap() error { return e.error }

// OnRecovered registers a hook for every relaunch of a driver of a kind.
func (h *Host) OnRecovered(k driver.Kind, f Hook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recovered[k] = append(h.recovered[k], f)
}

func (h *Host) hooks(k driver.Kind) []Hook {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.recovered[k])
}

// Storage returns the storage driver, with the optional interfaces that it
// declares.
func (h *Host) Storage() storage.Driver { return newStorage(h.first(driver.Storage)) }

// Runtime finds a runtime driver by the name that a user gave; empty is the
// default. driverName is what a container is to remember. ociRuntime is empty:
// which OCI runtime a driver uses is said by the options of its table.
func (h *Host) Runtime(name string) (d runtime.Driver, driverName, ociRuntime string, err error) {
	// Docker's clients know runc by the name of containerd's shim, too.
	if name == "io.containerd.runc.v2" {
		name = ""
	}
	in, err := h.named(driver.Runtime, name)
	if err != nil {
		return nil, "", "", err
	}
	return runtimeProxy{common{in}}, in.spec.name, "", nil
}

// Network finds a network driver by name; empty is the default.
func (h *Host) Network(name string) (network.Driver, error) {
	in, err := h.named(driver.Network, name)
	if err != nil {
		return nil, err
	}
	return networkProxy{common{in}}, nil
}

// Registry returns the registry driver that serves a host.
func (h *Host) Registry(string) (registry.Driver, error) {
	return registryProxy{common{h.first(driver.Registry)}}, nil
}

// first is the driver that serves its kind when nobody names another.
func (h *Host) first(k driver.Kind) *instance {
	i := slices.IndexFunc(h.instances, func(in *instance) bool { return in.spec.kind == k && in.spec.first })
	return h.instances[i]
}

func (h *Host) named(k driver.Kind, name string) (*instance, error) {
	if name == "" {
		return h.first(k), nil
	}
	var known []string
	for _, in := range h.instances {
		if in.spec.kind != k {
			continue
		}
		if in.spec.name == name {
			return in, nil
		}
		known = append(known, in.spec.name)
	}
	what := fmt.Sprintf("unknown %s driver: %s", k, name)
	if k == driver.Runtime { // in Docker's words, which clients know
		what = "unknown or invalid runtime name: " + name
	}
	return nil, fmt.Errorf("%s: known are %s; more can be named in [%ss.NAME] of the configuration: %w",
		what, strings.Join(known, ", "), k, errdefs.ErrInvalidArgument)
}

// lookup finds a driver by "name" or "kind.name".
func (h *Host) lookup(ref string) (*instance, error) {
	var found []*instance
	names := map[string]bool{}
	for _, in := range h.instances {
		full := string(in.spec.kind) + "." + in.spec.name
		names[in.spec.name] = true
		if ref == in.spec.name || ref == full {
			found = append(found, in)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("No such driver: %s: there are %s: %w", ref, strings.Join(slices.Sorted(maps.Keys(names)), ", "), errdefs.ErrNotFound) //nolint:staticcheck // Docker's clients begin these in upper case
	case len(found) > 1:
		return nil, fmt.Errorf("driver %s: several have that name, say %s.%s or %s.%s: %w", ref,
			found[0].spec.kind, ref, found[1].spec.kind, ref, errdefs.ErrInvalidArgument)
	}
	return found[0], nil
}

// Drivers describes all drivers, kinds in the order of driver.Kinds and each
// kind's default first.
func (h *Host) Drivers(context.Context) ([]drivers.Driver, error) {
	all := make([]drivers.Driver, len(h.instances))
	for i, in := range h.instances {
		all[i] = in.describe()
		all[i].Schema, all[i].Options = nil, nil
	}
	slices.SortStableFunc(all, func(a, b drivers.Driver) int {
		order := func(d drivers.Driver) int {
			i := 2 * slices.Index(driver.Kinds(), driver.Kind(d.Kind))
			if !d.Default {
				i++
			}
			return i
		}
		return cmp.Compare(order(a), order(b))
	})
	return all, nil
}

// Driver describes one driver, by "name" or "kind.name", with its options and
// their schema.
func (h *Host) Driver(_ context.Context, name string) (drivers.Driver, error) {
	in, err := h.lookup(name)
	if err != nil {
		return drivers.Driver{}, err
	}
	return in.describe(), nil
}

// Restart replaces a driver's process by a new one of the binary that is
// installed now, and returns when that is ready. Containers do not notice.
func (h *Host) Restart(ctx context.Context, name string) (drivers.Driver, error) {
	in, err := h.lookup(name)
	if err != nil {
		return drivers.Driver{}, err
	}
	before, changed := in.get()
	in.restart("by request")
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return drivers.Driver{}, ctx.Err()
		}
		var s state
		s, changed = in.get()
		switch {
		case s.restarts == before.restarts:
		case s.proc != nil && s.proc != before.proc:
			return in.describe(), nil
		case s.status == failed && s.hopeless:
			return drivers.Driver{}, in.unavailable(s)
		}
	}
}

// Reload takes over what another configuration says of the drivers that run,
// and relaunches those of which it says something new. Drivers that are in one
// of the two configurations only are left alone and named in the error, since
// only a new daemon can add and remove drivers.
func (h *Host) Reload(c *config.Config) error {
	next := map[string]config.Driver{}
	for _, s := range specs(c) {
		next[s.key+" "+s.name] = s.config
	}
	var errs []error
	for _, in := range h.instances {
		id := in.spec.key + " " + in.spec.name
		now, ok := next[id]
		delete(next, id)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%s (in [%s]) is no longer there: restart straked to end it: %w", in.spec, in.spec.key, errdefs.ErrFailedPrecondition))
		case !reflect.DeepEqual(now, in.settings()):
			in.mu.Lock()
			in.spec.config = now
			in.mu.Unlock()
			in.log.Info("driver is relaunched: its configuration changed", "driver", in.spec.name)
			in.restart("its configuration changed")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(next)) {
		errs = append(errs, fmt.Errorf("driver [%s] is new: restart straked to start it: %w", strings.Fields(id)[0], errdefs.ErrFailedPrecondition))
	}
	return errors.Join(errs...)
}

func (in *instance) describe() drivers.Driver {
	s, _ := in.get()
	d := drivers.Driver{
		Kind: string(in.spec.kind), Name: in.spec.name, Version: s.info.Version,
		Path: s.path, Pid: s.pid, Status: s.status, Reason: s.reason, Default: in.spec.first,
		Restarts: s.restarts, Calls: in.calls.all(), StartedAt: s.started, LogPath: in.logPath(), Schema: s.info.OptionsSchema,
	}
	for _, c := range s.info.Capabilities {
		d.Capabilities = append(d.Capabilities, string(c))
	}
	if o, err := in.spec.options(in.settings()); err == nil && json.Valid(o) {
		d.Options = o
	}
	return d
}

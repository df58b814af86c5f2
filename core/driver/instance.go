package driver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
)

// Statuses beside those that drivers report of themselves.
const (
	starting = "starting"
	failed   = string(driver.Failed)
	hung     = "hung"
)

// instance is one driver of the configuration over the processes that serve it,
// one after the other. Its supervisor alone changes the state; calls read it.
type instance struct {
	spec  spec // its config is guarded by mu, see settings
	host  *Host
	log   hclog.Logger
	again chan string   // a request to relaunch, with its reason
	probe chan struct{} // the process is suspected to hang or to be gone
	calls calls

	mu      sync.Mutex
	state   state         // guarded by mu
	changed chan struct{} // guarded by mu; closed and replaced by every change
}

// state is what is known of a driver at one moment.
type state struct {
	status string
	reason string
	// before is what status and reason were before the process was doubted.
	before *driver.Health
	// proc is the process that calls go to; nil while there is none.
	proc *process
	// hopeless says that waiting is of no use: the last launches failed.
	hopeless bool
	info     driver.Info // of the last process that told
	path     string
	pid      int
	restarts int
	started  time.Time
}

func newInstance(h *Host, s spec) *instance {
	return &instance{
		spec: s, host: h, log: h.log.Named(s.name),
		again: make(chan string, 1), probe: make(chan struct{}, 1),
		state: state{status: starting}, changed: make(chan struct{}),
	}
}

// set changes the state and wakes those who wait for a change.
func (in *instance) set(change func(*state)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	change(&in.state)
	close(in.changed)
	in.changed = make(chan struct{})
}

func (in *instance) get() (state, <-chan struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.state, in.changed
}

// settings is the driver's table of the configuration, which may be re-read.
func (in *instance) settings() config.Driver {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.spec.config
}

// has says whether the driver declares a capability.
func (in *instance) has(c driver.Capability) bool {
	s, _ := in.get()
	return slices.Contains(s.info.Capabilities, c)
}

type recoveryKey struct{}

// acquire returns the process to call. It waits while one is being launched, up
// to the host's bound. ErrUnavailable names the driver, its status and why.
func (in *instance) acquire(ctx context.Context) (*process, error) {
	if p, ok := ctx.Value(recoveryKey{}).(*process); ok && p.in == in {
		return p, nil
	}
	s, changed := in.get()
	if s.proc != nil {
		return s.proc, nil
	}
	bound := time.NewTimer(in.host.timing.wait)
	defer bound.Stop()
	for s.proc == nil {
		if s.hopeless {
			return nil, in.unavailable(s)
		}
		select {
		case <-changed:
		case <-bound.C:
			return nil, in.unavailable(s)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", in.unavailable(s), ctx.Err())
		}
		s, changed = in.get()
	}
	return s.proc, nil
}

// await is acquire without a bound, for those who only watch.
func (in *instance) await(ctx context.Context) (*process, error) {
	for {
		s, changed := in.get()
		if s.proc != nil {
			return s.proc, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (in *instance) unavailable(s state) error {
	reason := s.reason
	if reason == "" {
		reason = "not yet ready"
	}
	return fmt.Errorf("%s is not available (%s): %s: %w", in.spec, s.status, reason, errdefs.ErrUnavailable)
}

// lost notes that the connection to a process broke, so that nobody is sent to
// it again; the supervisor finds out by itself that it died.
func (in *instance) lost(p *process) {
	s, _ := in.get()
	if p == nil || s.proc != p {
		return
	}
	in.set(func(s *state) {
		if s.proc == p {
			s.proc, s.status, s.reason = nil, starting, "its process ended"
		}
	})
	in.suspect()
}

// suspect asks the supervisor to find out whether the process answers.
func (in *instance) suspect() {
	select {
	case in.probe <- struct{}{}:
	default: // a probe is asked for already
	}
}

// restart asks the supervisor for a new process.
func (in *instance) restart(reason string) {
	select {
	case in.again <- reason:
	default: // asked already
	}
}

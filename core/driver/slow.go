package driver

import (
	"fmt"
	"sync"
	"time"
)

// duty counts what a process is at, so that one that answers probes and leaves
// its calls unanswered is replaced. That happens when nothing is lost by it
// that cannot be repeated, and at the next call that runs into its deadline in
// any case.
type duty struct {
	mu     sync.Mutex
	once   int       // guarded by mu: calls at work that cannot be repeated
	reason string    // guarded by mu: of the first call that ran into its deadline
	since  time.Time // guarded by mu: when that was
	// doomed tells the supervisor why the process is to be replaced.
	doomed chan string
}

func newDuty() *duty { return &duty{doomed: make(chan string, 1)} }

// begin notes a call; end is to be called after it.
func (d *duty) begin(p policy) (end func()) {
	if !p.once {
		return func() {}
	}
	d.add(1)
	return func() { d.add(-1) }
}

func (d *duty) add(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.once += n; d.once == 0 && d.reason != "" {
		d.doom()
	}
}

// late notes that a call which began at a time had no answer.
func (d *duty) late(p policy, began time.Time) (reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	again := d.reason != "" && began.After(d.since)
	if d.reason == "" {
		d.reason, d.since = fmt.Sprintf("%s had no answer within %s", p.method, p.timeout), time.Now()
	}
	left := d.once
	if p.once {
		left-- // the late call itself
	}
	if again || left == 0 {
		d.doom()
	}
	return d.reason
}

// doom is called with mu held, more than once at times.
func (d *duty) doom() {
	select {
	case d.doomed <- d.reason:
	default:
	}
}

// late shows that a process leaves a call unanswered.
func (in *instance) late(p *process, pol policy, began time.Time) {
	reason := p.duty.late(pol, began)
	in.set(func(s *state) {
		if s.proc == p {
			s.status, s.reason, s.before = hung, reason, nil
		}
	})
}

package runc

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/sdk/shim"
)

// ahead has shims started before there are containers for them, when the driver
// has nothing else to do: on machines where a process's start is dear, it is a
// good part of a container's.
type ahead struct {
	log   hclog.Logger
	setup *setup
	want  int

	mu       sync.Mutex // guards all below
	ready    []*shim.Spare
	busy     int // calls under way
	timer    *time.Timer
	starting bool
	closed   bool
}

// quiet is how long no call must have been under way for a spare to be started.
// It is more than a short process takes from its start to its removal.
const quiet = 20 * time.Millisecond

func newAhead(l hclog.Logger, s *setup) *ahead {
	a := &ahead{log: l, setup: s, want: s.options.SpareShims, busy: 1}
	a.timer = time.AfterFunc(time.Hour, a.fill)
	a.timer.Stop()
	return a
}

// begin says that a call is under way until end.
func (a *ahead) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy++
	a.timer.Stop()
}

// end is called once for each begin, and once for newAhead.
func (a *ahead) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy--
	a.rest()
}

// rest has the next spare started when it is quiet; the caller holds mu.
func (a *ahead) rest() {
	if a.busy == 0 && len(a.ready) < a.want && !a.closed && !a.starting {
		a.timer.Reset(quiet)
	}
}

// fill starts a spare.
func (a *ahead) fill() {
	a.mu.Lock()
	if a.busy > 0 || len(a.ready) >= a.want || a.closed || a.starting {
		a.mu.Unlock()
		return
	}
	a.starting = true
	a.mu.Unlock()
	var s *shim.Spare
	err := a.setup.inCgroup(func(cgroup *os.File) (err error) {
		s, err = shim.StartSpare(a.setup.shim, a.setup.dir, cgroup, a.ended)
		return err
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.starting = false
	switch {
	case err != nil:
		a.log.Warn("start a spare shim", "err", err) // the next call's end tries again
	case a.closed:
		a.discard(s)
	default:
		a.ready = append(a.ready, s)
		a.rest()
	}
}

// assign has a spare be a container's shim. shim.ErrNoSpare: there is none.
func (a *ahead) assign(l shim.Launch) (*os.Process, error) {
	a.mu.Lock()
	if len(a.ready) == 0 {
		a.mu.Unlock()
		return nil, shim.ErrNoSpare
	}
	s := a.ready[0]
	a.ready = a.ready[1:]
	a.mu.Unlock()
	p, err := s.Assign(l)
	if err != nil {
		a.log.Warn("use a spare shim", "err", err)
	}
	return p, err
}

// ended takes out a spare that has ended by itself. Its successor waits for the
// next call, lest one that always ends be started over and over.
func (a *ahead) ended(s *shim.Spare) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.ready, s); i >= 0 {
		a.ready = slices.Delete(a.ready, i, i+1)
		a.log.Warn("a spare shim has ended")
		a.discard(s)
	}
}

// close ends all spares.
func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.timer.Stop()
	for _, s := range a.ready {
		a.discard(s)
	}
	a.ready = nil
}

func (a *ahead) discard(s *shim.Spare) {
	if err := s.Discard(); err != nil {
		a.log.Warn("end a spare shim", "err", err)
	}
}

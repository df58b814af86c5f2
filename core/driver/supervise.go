package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
)

// timing is how patient the host is.
type timing struct {
	launch     time.Duration // until a process has answered
	configure  time.Duration
	recovery   time.Duration // of all handles, after a relaunch
	wait       time.Duration // of a call, for a driver that is being launched
	probeEvery time.Duration // between looks whether a process answers
	logEvery   time.Duration // between looks at the size of the log
	doubt      time.Duration // until a process that does not answer is said to hang
	probe      time.Duration // until it is replaced for that
	shutdown   time.Duration
	firstDelay time.Duration // before the second relaunch; doubled every time
	maxDelay   time.Duration
	sound      time.Duration // a process that lived that long starts the delays anew
}

func patience() timing {
	return timing{
		launch: 15 * time.Second, configure: 30 * time.Second, recovery: time.Minute,
		wait: 10 * time.Second, probeEvery: 10 * time.Second, logEvery: time.Second,
		doubt: time.Second, probe: 5 * time.Second,
		shutdown:   3 * time.Second,
		firstDelay: 100 * time.Millisecond, maxDelay: 30 * time.Second, sound: time.Minute,
	}
}

// next is the delay after d. The first relaunch is at once.
func (t timing) next(d time.Duration) time.Duration {
	return min(max(2*d, t.firstDelay), t.maxDelay)
}

// supervise launches processes until ctx ends. first is told the outcome of the
// first launch.
func (in *instance) supervise(ctx context.Context, first chan<- error) {
	var delay time.Duration
	for attempt := 0; ctx.Err() == nil; attempt++ {
		born := time.Now()
		p, err := in.start(ctx, attempt)
		if first != nil {
			first <- err
			first = nil
		}
		if err == nil {
			err = in.serve(ctx, p)
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(born) > in.host.timing.sound || errors.Is(err, errAsked) {
			delay = 0
		}
		in.pause(ctx, delay)
		delay = in.host.timing.next(delay)
	}
}

// pause waits before the next launch, less when somebody asks for one.
func (in *instance) pause(ctx context.Context, d time.Duration) {
	if d > in.host.timing.wait/4 {
		// Too long for calls to wait.
		in.set(func(s *state) { s.hopeless, s.status = true, failed })
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-in.again:
	case <-ctx.Done():
	}
}

// start brings one process to the point where calls may go to it.
func (in *instance) start(ctx context.Context, attempt int) (*process, error) {
	in.set(func(s *state) {
		if !s.hopeless {
			s.status = starting
		}
		if attempt > 0 {
			s.restarts++
		}
	})
	p, err := in.launch(ctx)
	if err == nil && attempt > 0 {
		in.recoverHandles(ctx, p)
	}
	if err != nil {
		in.set(func(s *state) {
			s.status, s.reason, s.proc, s.pid = failed, err.Error(), nil, 0
			// A process that was killed says little of the next one: calls wait
			// for that, until the delays have grown.
			s.hopeless = s.hopeless || !errdefs.IsUnavailable(err)
		})
		if ctx.Err() == nil {
			in.log.Error("driver is not available", "driver", in.spec.name, "err", err)
		}
		return nil, err
	}
	in.set(func(s *state) {
		s.status, s.reason, s.proc, s.hopeless, s.before = string(driver.Ready), "", p, false, nil
	})
	in.log.Debug("driver is ready", "driver", in.spec.name, "pid", p.client.Pid(), "attempt", attempt+1)
	return p, nil
}

// recoverHandles has the core hand back what it holds of the former process.
// Only calls of the hooks get through meanwhile.
func (in *instance) recoverHandles(ctx context.Context, p *process) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, recoveryKey{}, p), in.host.timing.recovery)
	defer cancel()
	for _, f := range in.host.hooks(in.spec.kind) {
		if err := f(ctx, in.spec.name); err != nil {
			in.log.Error("handles of the former process are not all recovered", "driver", in.spec.name, "err", err)
		}
	}
}

// errAsked is why a process was ended on request.
var errAsked = errors.New("a restart was asked for")

// serve watches over a process until it is gone, and says why it is.
func (in *instance) serve(ctx context.Context, p *process) error {
	watchCtx, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		in.watchHealth(watchCtx, p)
	}()
	err := in.guard(ctx, p)
	stop()
	if ctx.Err() != nil || errors.Is(err, errAsked) {
		in.end(ctx, p)
	}
	p.client.Kill()
	<-watched
	in.set(func(s *state) {
		s.proc, s.pid, s.reason = nil, 0, err.Error()
		s.status = starting
		if errors.Is(err, errHung) {
			s.status = hung
		}
	})
	if ctx.Err() == nil && !errors.Is(err, errAsked) {
		in.log.Warn("driver is relaunched", "driver", in.spec.name, "err", err)
	}
	return err
}

var errHung = errors.New("it did not answer")

// guard returns when a process must be replaced.
func (in *instance) guard(ctx context.Context, p *process) error {
	tick := time.NewTicker(in.host.timing.probeEvery)
	defer tick.Stop()
	look := time.NewTicker(in.host.timing.logEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.client.Dead():
			return p.epitaph()
		case reason := <-in.again:
			return fmt.Errorf("%w: %s", errAsked, reason)
		case reason := <-p.duty.doomed:
			return fmt.Errorf("%w: %s (pid %d)", errHung, reason, p.client.Pid())
		case <-in.probe:
		case <-tick.C:
		case <-look.C:
			if err := in.boundLog(); err != nil {
				in.log.Warn("driver's log cannot be bounded", "driver", in.spec.name, "err", err)
			}
			continue
		}
		if err := in.ask(ctx, p); err != nil {
			return err
		}
		in.vindicate(p)
	}
}

// watchHealth notes what the driver says of itself.
func (in *instance) watchHealth(ctx context.Context, p *process) {
	err := p.driver.WatchHealth(ctx, func(h driver.Health) {
		in.set(func(s *state) {
			if s.proc == p {
				s.status, s.reason, s.before = string(h.Status), h.Reason, nil
			}
		})
	})
	if err != nil && ctx.Err() == nil && !errdefs.IsUnavailable(err) {
		in.log.Warn("driver does not report its health", "driver", in.spec.name, "err", err)
	}
}

// end ends a process in good order.
func (in *instance) end(ctx context.Context, p *process) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.host.timing.shutdown)
	defer cancel()
	if err := p.client.Shutdown(ctx); err != nil {
		in.log.Warn("driver does not shut down in good order", "driver", in.spec.name, "err", err)
	}
}

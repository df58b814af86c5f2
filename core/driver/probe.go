package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strakehq/strake/sdk/driver"
)

// ask finds out whether a process answers. One that is silent is said to hang for
// a while before it is replaced, so that whoever waits for it can see why.
func (in *instance) ask(ctx context.Context, p *process) error {
	t := in.host.timing
	err := in.answers(ctx, p, t.doubt)
	if errors.Is(err, errHung) {
		in.doubt(p)
		err = in.answers(ctx, p, t.probe-t.doubt)
	}
	return err
}

func (in *instance) answers(ctx context.Context, p *process, wait time.Duration) error {
	askCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, err := p.driver.Info(askCtx)
	switch {
	case err == nil || ctx.Err() != nil:
		return nil
	case askCtx.Err() != nil:
		return fmt.Errorf("%w within %s (pid %d)", errHung, in.host.timing.probe, p.client.Pid())
	default:
		return p.epitaph()
	}
}

// doubt shows that a process does not answer, until it does or is replaced.
func (in *instance) doubt(p *process) {
	in.set(func(s *state) {
		if s.proc == p && s.status != hung {
			s.before = &driver.Health{Status: driver.Status(s.status), Reason: s.reason}
			s.status, s.reason = hung, fmt.Sprintf("%s for %s", errHung, in.host.timing.doubt)
		}
	})
}

// vindicate takes back what was wrongly said of a process that answers: that it
// hangs, or that it is gone and gets no calls.
func (in *instance) vindicate(p *process) {
	s, _ := in.get()
	if s.proc != nil && s.before == nil {
		return
	}
	in.set(func(s *state) {
		was := driver.Health{Status: driver.Ready}
		if s.before != nil {
			was = *s.before
		}
		s.proc, s.status, s.reason, s.before = p, string(was.Status), was.Reason, nil
	})
}

package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/plugin"
)

// Deadlines by what a method may have to do. A caller's own deadline counts
// when it is nearer.
const (
	quickCall = 30 * time.Second // touches records, links, cgroups
	startCall = 90 * time.Second // starts or ends processes
	slowCall  = 5 * time.Minute  // may walk a tree, or wait for a network
	noLimit   = 0                // moves bytes for as long as somebody reads
)

// policy is how a method is called.
type policy struct {
	method  string
	timeout time.Duration
	// once forbids the repetition after the driver died in mid-call: the
	// call consumes a stream or, done twice, does something twice.
	once bool
}

func quick(method string) policy  { return policy{method: method, timeout: quickCall} }
func starts(method string) policy { return policy{method: method, timeout: startCall} }
func slow(method string) policy   { return policy{method: method, timeout: slowCall} }

// none is the result of calls that return only an error.
type none = struct{}

// call runs f on the present process of in's driver. While the driver is being
// relaunched it waits, up to a bound. When the driver dies in mid-call, the call
// is repeated once on the next process, unless p forbids it. No lock is held
// while f runs.
func call[D, R any](ctx context.Context, in *instance, p policy, f func(context.Context, D) (R, error)) (R, error) {
	r, proc, err := attempt(ctx, in, p, f)
	if !errors.Is(err, plugin.ErrLost) || ctx.Err() != nil {
		return r, err
	}
	in.lost(proc)
	if p.once {
		return r, fmt.Errorf("%s died during %s: %w", in.spec, p.method, err)
	}
	if r, proc, err = attempt(ctx, in, p, f); errors.Is(err, plugin.ErrLost) {
		in.lost(proc)
		return r, fmt.Errorf("%s died twice during %s, its log is %s: %w", in.spec, p.method, in.logPath(), err)
	}
	return r, err
}

func attempt[D, R any](ctx context.Context, in *instance, p policy, f func(context.Context, D) (R, error)) (r R, proc *process, err error) {
	if proc, err = in.acquire(ctx); err != nil {
		return r, nil, err
	}
	d, ok := proc.driver.(D)
	if !ok { // impossible: launch has checked the kind
		return r, proc, fmt.Errorf("%s does not serve %s: %w", in.spec, p.method, errdefs.ErrNotImplemented)
	}
	callCtx := ctx
	if p.timeout > 0 {
		var cancel context.CancelFunc
		callCtx, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	in.calls.add(p.method)
	began, end := time.Now(), proc.duty.begin(p)
	defer end()
	r, err = f(callCtx, d)
	switch {
	case err == nil || errors.Is(err, plugin.ErrLost):
	case late(ctx):
		in.suspect()
		err = fmt.Errorf("%s: %s: no answer within %s: %w: %w", in.spec, p.method,
			time.Since(began).Round(time.Millisecond), err, context.DeadlineExceeded)
	case late(callCtx):
		in.late(proc, p, began)
		err = fmt.Errorf("%s: %s: no answer within %s: %w: %w", in.spec, p.method, p.timeout, err, errdefs.ErrUnavailable)
	}
	return r, proc, err
}

// late says whether the deadline has passed. The driver knows it too and may
// have broken the call off before ctx ends here.
func late(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && !time.Now().Before(end)
}

// do is call for methods that return only an error.
func do[D any](ctx context.Context, in *instance, p policy, f func(context.Context, D) error) error {
	_, err := call(ctx, in, p, func(ctx context.Context, d D) (none, error) { return none{}, f(ctx, d) })
	return err
}

// watch runs a method that streams until ctx ends, anew on every next process.
func watch[D any](ctx context.Context, in *instance, method string, f func(context.Context, D) error) error {
	for {
		proc, err := in.await(ctx)
		if err != nil {
			return err
		}
		d, ok := proc.driver.(D)
		if !ok {
			return fmt.Errorf("%s does not serve %s: %w", in.spec, method, errdefs.ErrNotImplemented)
		}
		err = f(ctx, d)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil: // the driver ended the stream for no reason: no busy loop
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
		case errors.Is(err, plugin.ErrLost):
			in.lost(proc)
		default:
			return fmt.Errorf("%s: %s: %w", in.spec, method, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

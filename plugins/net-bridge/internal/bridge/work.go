package bridge

import (
	"context"
	"sync"
)

// removers bounds the links that are deleted at once; each deletion holds the
// kernel's network lock for some 30 ms.
const removers = 2

// work is the driver's background work.
type work struct {
	ctx    context.Context //nolint:containedctx // ends with the driver, not with a call
	cancel context.CancelFunc
	wg     *sync.WaitGroup
	slots  chan struct{}
}

func newWork() work {
	ctx, cancel := context.WithCancel(context.Background())
	return work{ctx: ctx, cancel: cancel, wg: &sync.WaitGroup{}, slots: make(chan struct{}, removers)}
}

// start runs f until stop.
func (w work) start(f func(ctx context.Context)) {
	w.wg.Go(func() { f(w.ctx) })
}

// later runs f when one of a few slots is free, unless stop comes first.
func (w work) later(f func(ctx context.Context)) {
	w.start(func(ctx context.Context) {
		select {
		case w.slots <- struct{}{}:
			defer func() { <-w.slots }()
			f(ctx)
		case <-ctx.Done():
		}
	})
}

// stop ends all work and waits for it.
func (w work) stop() {
	w.cancel()
	w.wg.Wait()
}

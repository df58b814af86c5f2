package overlay

import (
	"context"
	"sync"

	"github.com/strakehq/strake/sdk/driver"
)

// health is the driver's present condition, and wakes those who watch it.
type health struct {
	mu      sync.Mutex
	now     driver.Health // guarded by mu
	changed chan struct{} // guarded by mu; closed at the next change
}

func newHealth() *health {
	return &health{now: driver.Health{Status: driver.Ready}, changed: make(chan struct{})}
}

func (h *health) set(now driver.Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == now {
		return
	}
	h.now = now
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *health) get() (driver.Health, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now, h.changed
}

func (h *health) watch(ctx context.Context, report func(driver.Health)) {
	for {
		now, changed := h.get()
		report(now)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

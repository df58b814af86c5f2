package bridge

import (
	"context"
	"sync"

	"github.com/strakehq/strake/sdk/driver"
)

// health is the driver's word on itself.
type health struct{ *healthState }

type healthState struct {
	mu      sync.Mutex
	now     driver.Health // guarded by mu
	changed chan struct{} // guarded by mu: closed at the next change
}

func newHealth() health {
	return health{&healthState{now: driver.Health{Status: driver.Ready}, changed: make(chan struct{})}}
}

func (h health) set(v driver.Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v == h.now {
		return
	}
	h.now = v
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h health) get() (driver.Health, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now, h.changed
}

// WatchHealth reports the health now and at every change.
func (d *Driver) WatchHealth(ctx context.Context, report func(driver.Health)) error {
	for {
		now, changed := d.health.get()
		report(now)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

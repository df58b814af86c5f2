package bridge

import (
	"context"
	"fmt"
	"time"

	"github.com/strakehq/strake/sdk/driver"
)

const (
	// checkEvery bounds the time for which flushed rules stay away when
	// nobody tells of it.
	checkEvery = 2 * time.Second
	// settleTime lets a burst of changes pass before they are looked at.
	settleTime = 100 * time.Millisecond
)

// watch puts back rules that somebody else has removed, and IPv4 forwarding.
func (d *Driver) watch(ctx context.Context) {
	changed := make(chan struct{}, 1)
	if d.watcher != nil {
		d.work.start(func(ctx context.Context) {
			if err := d.watcher.Listen(ctx, changed); err != nil {
				d.log.Warn("changes to firewall rules are noticed late", "err", err)
			}
		})
	}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-changed:
			if !pause(ctx, settleTime) {
				return
			}
		case <-tick.C:
			if err := d.forwarding(); err != nil {
				d.log.Error("IPv4 forwarding cannot be kept on", "err", err)
			}
		case <-ctx.Done():
			return
		}
		d.attend(ctx)
	}
}

func pause(ctx context.Context, t time.Duration) bool {
	select {
	case <-time.After(t):
		return true
	case <-ctx.Done():
		return false
	}
}

// attend looks at the rules when something has changed.
func (d *Driver) attend(ctx context.Context) {
	repaired, err := d.reconsider(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.log.Error("firewall rules cannot be checked or repaired", "err", err)
		d.health.set(driver.Health{Status: driver.Degraded, Reason: fmt.Sprintf("firewall rules cannot be put in place: %v", err)})
	default:
		if repaired {
			d.log.Warn("firewall rules had been removed by somebody else and were put back", "backend", d.rules.Backend())
		}
		d.health.set(driver.Health{Status: driver.Ready})
	}
}

func (d *Driver) reconsider(ctx context.Context) (repaired bool, err error) {
	moved, err := d.rules.Moved()
	if err != nil || !moved {
		return false, err
	}
	if err := d.rechoose(ctx); err != nil {
		return false, err
	}
	return d.rules.Repair(ctx)
}

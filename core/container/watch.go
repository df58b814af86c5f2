package container

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/sdk/runtime"
)

// follow watches the events of a container's runtime driver, once per driver.
func (m *Manager) follow(r record) {
	d, name, _, err := m.cfg.Drivers.Runtime(r.RuntimeDriver)
	if err != nil {
		m.log.Error("follow runtime", "container", short(r.ID), "err", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watching[name] {
		return
	}
	m.watching[name] = true
	m.spawn(func(ctx context.Context) { m.watch(ctx, name, d) })
}

// rewatch is the pause before the events of a driver that died are asked for
// again: the call waits for its relaunch.
const rewatch = 50 * time.Millisecond

func (m *Manager) watch(ctx context.Context, name string, d runtime.Driver) {
	for ctx.Err() == nil {
		err := d.WatchEvents(ctx, func(e runtime.Event) { m.handle(name, e) })
		if ctx.Err() != nil {
			return
		}
		m.log.Debug("runtime events ended", "driver", name, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(rewatch):
		}
	}
}

// handle must not wait: the stream carries all containers' events. A driver has
// no say over containers of another, nor by any name but their id.
func (m *Manager) handle(driverName string, e runtime.Event) {
	m.mu.RLock()
	u := m.units[string(e.ID)]
	m.mu.RUnlock()
	if u == nil || u.get().RuntimeDriver != driverName {
		return // removed already, or none of its business
	}
	switch {
	case e.Kind == runtime.OOM:
		m.publish(u.get(), events.ActionOOM)
	case e.Kind == runtime.ProcessExited && e.Exit != nil && e.Exec != "":
		m.execEnded(string(e.ID), string(e.Exec), *e.Exit)
	case e.Kind == runtime.ProcessExited && e.Exit != nil:
		exit := *e.Exit
		if !u.tell() {
			return // it says the same thing again
		}
		m.spawn(func(ctx context.Context) {
			m.endExecs(u)
			m.exited(ctx, u, exit)
		})
	}
}

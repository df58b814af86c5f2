package runc

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"sync"
	"sync/atomic"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// events hands news from all shims to all watchers, and remembers exits for
// those that come later. Its zero value is ready for use.
type events struct {
	mu       sync.Mutex // guards all below
	exits    map[process]runtime.Event
	watchers map[*watcher]bool
}

type process struct {
	id   runtime.ContainerID
	exec runtime.ExecID
}

// watcher is one WatchEvents call; its queue has no bound, so that nobody waits
// for a slow one.
type watcher struct {
	queue []runtime.Event
	woken chan struct{}
}

func (w *watcher) put(e runtime.Event) {
	w.queue = append(w.queue, e)
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// publish tells all watchers, and remembers an exit unless its container is
// gone. The caller sets gone before forget, so either sees the other.
func (es *events) publish(e runtime.Event, gone *atomic.Bool) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if e.Kind == runtime.ProcessExited && !gone.Load() {
		if es.exits == nil {
			es.exits = map[process]runtime.Event{}
		}
		es.exits[process{e.ID, e.Exec}] = e
	}
	for w := range es.watchers {
		w.put(e)
	}
}

// forget drops the remembered exit of an exec, or of a container and all its
// execs.
func (es *events) forget(id runtime.ContainerID, exec runtime.ExecID) {
	es.mu.Lock()
	defer es.mu.Unlock()
	maps.DeleteFunc(es.exits, func(p process, _ runtime.Event) bool {
		return p.id == id && (exec == "" || p.exec == exec)
	})
}

func (es *events) watch() *watcher {
	es.mu.Lock()
	defer es.mu.Unlock()
	w := &watcher{woken: make(chan struct{}, 1)}
	for _, e := range es.exits {
		w.put(e)
	}
	if es.watchers == nil {
		es.watchers = map[*watcher]bool{}
	}
	es.watchers[w] = true
	return w
}

func (es *events) unwatch(w *watcher) {
	es.mu.Lock()
	defer es.mu.Unlock()
	delete(es.watchers, w)
}

func (es *events) take(w *watcher) []runtime.Event {
	es.mu.Lock()
	defer es.mu.Unlock()
	q := w.queue
	w.queue = nil
	return q
}

// WatchEvents delivers events until ctx ends.
func (d *Driver) WatchEvents(ctx context.Context, deliver func(runtime.Event)) error {
	if _, err := d.setup(); err != nil {
		return err
	}
	w := d.events.watch()
	defer d.events.unwatch(w)
	for {
		for _, e := range d.events.take(w) {
			deliver(e)
		}
		select {
		case <-w.woken:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// event takes news from the container's shim.
func (c *container) event(e wire.Event) {
	switch e.Kind {
	case wire.StdinClosed:
		c.noteError("let go of stdin", c.keep.stdinEnded(e.Exec))
	case wire.Exited:
		c.noteError("let go of streams", c.keep.drop(e.Exec))
		c.d.events.publish(runtime.Event{
			Kind: runtime.ProcessExited, ID: c.id, Exec: runtime.ExecID(e.Exec), At: e.At, Exit: exitOf(e.Exit),
		}, &c.gone)
	case wire.OOM:
		c.d.events.publish(runtime.Event{Kind: runtime.OOM, ID: c.id, At: e.At}, &c.gone)
	default: // nothing that the host needs to know
	}
}

// tell publishes the exits on disk, of a container whose shim cannot.
func (c *container) tell() {
	execs, err := os.ReadDir(c.file(wire.ExecDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.noteError("read execs", err)
	}
	names := []string{""}
	for _, e := range execs {
		names = append(names, e.Name())
	}
	for _, exec := range names {
		st, err := c.remembered(runtime.ExecID(exec))
		if err != nil || c.gone.Load() || !c.has(wire.StateFile) {
			continue
		}
		c.d.events.publish(runtime.Event{
			Kind: runtime.ProcessExited, ID: c.id, Exec: st.Exec, At: st.Exit.At, Exit: st.Exit,
		}, &c.gone)
	}
}

func (c *container) noteError(doing string, err error) {
	if err != nil {
		c.d.log.Warn(doing, "container", c.id, "err", err)
	}
}

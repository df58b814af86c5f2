package container

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/sys/signal"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/sdk/runtime"
)

const (
	defaultStopTimeout = 10 // seconds
	// killGrace is how long the end after SIGKILL may take.
	killGrace = 10 * time.Second
)

// Stop implements containers.Lifecycle. The container's lock is not held while
// its process takes its time: another client may kill it.
func (m *Manager) Stop(ctx context.Context, ref string, o containers.StopOptions) error {
	u, err := m.find(ref)
	if err != nil {
		return err
	}
	if _, err := m.allows(u, opStop); err != nil {
		return err
	}
	if err := m.halt(ctx, u, o); err != nil {
		return err
	}
	m.publish(u.get(), events.ActionStop)
	return nil
}

// halt brings a container's process to its end, and returns when that is
// accounted for.
func (m *Manager) halt(ctx context.Context, u *unit, o containers.StopOptions) error {
	// A client that leaves does not call the stop off.
	ctx = context.WithoutCancel(ctx)
	sig, timeout, err := stopTerms(u.get(), o)
	if err != nil {
		return err
	}
	ended, err := m.signalStop(ctx, u, sig)
	if ended == nil || err != nil {
		return err
	}
	var late <-chan time.Time
	if timeout >= 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-ended:
		return nil
	case <-m.ctx.Done():
		return m.ctx.Err()
	case <-late:
	}
	if err := m.deliver(ctx, u, syscall.SIGKILL); err != nil {
		return err
	}
	t := time.NewTimer(killGrace)
	defer t.Stop()
	select {
	case <-ended:
		return nil
	case <-m.ctx.Done():
		return m.ctx.Err()
	case <-t.C:
		return fmt.Errorf("container %s: its process did not end within %s of SIGKILL: %w", short(u.id), killGrace, errdefs.ErrUnavailable)
	}
}

// signalStop marks the container as stopped by hand and sends the signal. The
// channel closes when the process's end is accounted for; nil: none runs.
func (m *Manager) signalStop(ctx context.Context, u *unit, sig syscall.Signal) (<-chan struct{}, error) {
	if err := u.acquire(ctx); err != nil {
		return nil, err
	}
	defer u.release()
	r := u.change(func(r *record) { r.Run.Stopped = true })
	if r.Run.Status == container.StateRestarting {
		return nil, m.giveUpRestart(u)
	}
	u.mu.Lock()
	ended := u.ended
	u.mu.Unlock()
	if ended == nil {
		return nil, nil
	}
	if r.Host.RestartPolicy.IsUnlessStopped() || r.Host.RestartPolicy.IsAlways() {
		if err := m.save(r); err != nil {
			return nil, err
		}
	}
	if r.Run.Status == container.StatePaused {
		if err := m.resume(ctx, u); err != nil {
			return nil, err
		}
	}
	return ended, m.send(ctx, r, sig)
}

// stopTerms are the signal and the patience; negative: endless.
func stopTerms(r record, o containers.StopOptions) (syscall.Signal, time.Duration, error) {
	name := o.Signal
	if name == "" {
		name = r.Config.StopSignal
	}
	sig := syscall.SIGTERM
	if name != "" {
		var err error
		if sig, err = signal.ParseSignal(name); err != nil {
			return 0, 0, invalid("%v", err)
		}
	}
	seconds := defaultStopTimeout
	if r.Config.StopTimeout != nil {
		seconds = *r.Config.StopTimeout
	}
	if o.Timeout != nil {
		seconds = *o.Timeout
	}
	return sig, time.Duration(seconds) * time.Second, nil
}

// Restart implements containers.Lifecycle.
func (m *Manager) Restart(ctx context.Context, ref string, o containers.StopOptions) error {
	u, err := m.find(ref)
	if err != nil {
		return err
	}
	r, err := m.allows(u, opRestart)
	if err != nil {
		return err
	}
	// An automatic removal must not come between.
	keep := r.Host
	if keep.AutoRemove {
		h := *keep
		h.AutoRemove = false
		u.change(func(r *record) { r.Host = &h })
		defer u.change(func(r *record) { r.Host = keep })
	}
	if active(r.Run.Status) {
		if err := m.halt(ctx, u, o); err != nil {
			return err
		}
		m.publish(u.get(), events.ActionStop)
	}
	if err := m.Start(ctx, u.id); err != nil && !errdefs.IsNotModified(err) {
		return err
	}
	m.publish(u.get(), events.ActionRestart)
	return nil
}

// Kill implements containers.Lifecycle.
func (m *Manager) Kill(ctx context.Context, ref, name string) error {
	sig := syscall.SIGKILL
	if name != "" {
		var err error
		if sig, err = signal.ParseSignal(name); err != nil {
			return invalid("%v", err)
		}
		if !signal.ValidSignalForPlatform(sig) {
			return invalid("the Linux daemon does not support signal %d", int(sig))
		}
	}
	u, done, err := m.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer done()
	r, err := m.allows(u, opKill)
	if err != nil {
		return classedf(err, "cannot kill container: %s: %v", ref, err)
	}
	// A signal that ends the process is as good as a stop, unless the
	// container reads it as something else.
	stopSignal, _, err := stopTerms(r, containers.StopOptions{})
	if err != nil {
		return err
	}
	if sig == syscall.SIGKILL || sig == stopSignal {
		r = u.change(func(r *record) { r.Run.Stopped = true })
	}
	if r.Run.Status == container.StateRestarting {
		return m.giveUpRestart(u)
	}
	if sig == syscall.SIGKILL && r.Run.Status == container.StatePaused {
		// A frozen process takes no signal before it thaws.
		if err := errors.Join(m.send(ctx, r, sig), m.resume(ctx, u)); err != nil {
			return err
		}
		return nil
	}
	return m.send(ctx, r, sig)
}

// deliver sends a signal to a container whose lock is not held.
func (m *Manager) deliver(ctx context.Context, u *unit, sig syscall.Signal) error {
	if err := u.acquire(ctx); err != nil {
		return err
	}
	defer u.release()
	r := u.get()
	if !alive(r.Run.Status) {
		return nil
	}
	if err := m.send(ctx, r, sig); err != nil {
		return err
	}
	if r.Run.Status == container.StatePaused {
		return m.resume(ctx, u)
	}
	return nil
}

func (m *Manager) send(ctx context.Context, r record, sig syscall.Signal) error {
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := rt.Kill(ctx, runtime.ContainerID(r.ID), "", int(sig), false); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("cannot kill container: %s: %w", r.ID, err)
	}
	m.publish(r, events.ActionKill, "signal", strconv.Itoa(int(sig)))
	return nil
}

// classedf makes a new message with the class of another error.
func classedf(like error, format string, args ...any) error {
	var f *fault
	if errors.As(like, &f) {
		return refuse(f.class, format, args...)
	}
	return fmt.Errorf(format, args...)
}

// Pause implements containers.Lifecycle.
func (m *Manager) Pause(ctx context.Context, ref string) error {
	u, done, err := m.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer done()
	r, err := m.allows(u, opPause)
	if err != nil {
		return err
	}
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := rt.Pause(ctx, runtime.ContainerID(r.ID)); err != nil {
		if ended(ctx, rt, r.ID) {
			return refuse(errdefs.ErrConflict, "container %s is not running", r.ID)
		}
		return fmt.Errorf("cannot pause container %s: %w", ref, err)
	}
	if r, err = m.move(u, opPause, nil); err != nil {
		return err
	}
	m.publish(r, events.ActionPause)
	return m.save(r)
}

// Unpause implements containers.Lifecycle.
func (m *Manager) Unpause(ctx context.Context, ref string) error {
	u, done, err := m.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer done()
	if _, err := m.allows(u, opUnpause); err != nil {
		return err
	}
	return m.resume(ctx, u)
}

// ended says whether a container's process has ended, though its exit is not yet
// accounted for.
func ended(ctx context.Context, rt runtime.Driver, id string) bool {
	st, err := rt.State(ctx, runtime.ContainerID(id), "")
	return errdefs.IsNotFound(err) || err == nil && st.Exit != nil
}

// resume thaws a paused container. It is called with the lock held.
func (m *Manager) resume(ctx context.Context, u *unit) error {
	r := u.get()
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := rt.Resume(ctx, runtime.ContainerID(r.ID)); err != nil {
		if ended(ctx, rt, r.ID) {
			return refuse(errdefs.ErrConflict, "container %s is not running", r.ID)
		}
		return fmt.Errorf("cannot unpause container %s: %w", short(r.ID), err)
	}
	if r, err = m.move(u, opUnpause, nil); err != nil {
		return err
	}
	m.publish(r, events.ActionUnPause)
	return m.save(r)
}

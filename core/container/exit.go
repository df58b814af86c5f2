package container

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/sdk/runtime"
)

// cleanupTimeout bounds the release of what a process had, so that a driver
// that hangs does not keep the exit from being told.
const cleanupTimeout = 20 * time.Second

// exited accounts for the end of a container's process. It may be told the
// same exit more than once.
func (m *Manager) exited(ctx context.Context, u *unit, e runtime.Exit) {
	if err := u.acquire(ctx); err != nil {
		return // the daemon ends; the next one learns of the exit from the driver
	}
	defer u.release()
	r := u.get()
	if !alive(r.Run.Status) || e.At.Before(r.Run.StartedAt) && !m.confirmExit(ctx, r, &e) {
		return
	}
	m.settle(ctx, u, e)
}

// confirmExit asks whether an exit that seems to be of a former run is the
// present one's: clocks may be set back.
func (m *Manager) confirmExit(ctx context.Context, r record, e *runtime.Exit) bool {
	rt, err := m.runtimeOf(r)
	if err != nil {
		return false
	}
	st, err := rt.State(ctx, runtime.ContainerID(r.ID), "")
	if err != nil || st.Exit == nil {
		return false
	}
	*e = *st.Exit
	return true
}

// settle releases what the process had and moves the container on: to its
// end, to a restart, or away. It is called with the lock held.
func (m *Manager) settle(ctx context.Context, u *unit, e runtime.Exit) {
	u.endHealth()
	r := u.get()
	m.releaseRun(ctx, r)
	edit := func(x *run) {
		x.Pid, x.ExitCode, x.OOMKilled, x.FinishedAt = 0, e.Code, e.OOMKilled, e.At.UTC()
		if x.FinishedAt.IsZero() {
			x.FinishedAt = time.Now().UTC()
		}
		if !e.Known {
			x.Error = "the exit status is unknown: nobody was there to learn it"
		}
		x.Network = NetworkState{}
	}
	again, delay := m.shouldRestart(r, e)
	op := opExit
	if again {
		op = opExitRestart
	}
	r, err := m.move(u, op, edit)
	if err != nil {
		m.log.Error("exit", "container", short(r.ID), "err", err)
		return
	}
	m.publish(r, events.ActionDie, "exitCode", strconv.Itoa(r.Run.ExitCode), "execDuration", strconv.Itoa(int(r.Run.FinishedAt.Sub(r.Run.StartedAt).Seconds())))
	switch {
	case again:
		m.saveOrLog(r)
		m.restartLater(u, delay)
	case r.Host.AutoRemove:
		if err := m.remove(ctx, u, true); err != nil {
			m.log.Error("automatic removal", "container", short(r.ID), "err", err)
		}
	default:
		m.saveOrLog(r)
	}
}

func (m *Manager) saveOrLog(r record) {
	if err := m.save(r); err != nil {
		m.log.Error("save", "container", short(r.ID), "err", err)
	}
}

// releaseRun gives back the runtime's and the network's part, side by side.
// What fails is left to the collection at the next start of the daemon.
func (m *Manager) releaseRun(ctx context.Context, r record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	detached := make(chan error, 1)
	go func() { detached <- m.detach(ctx, r) }()
	err := m.deleteRun(ctx, r)
	if err = errors.Join(err, <-detached, m.unmountShm(r)); err != nil {
		m.log.Warn("release after exit", "container", short(r.ID), "err", err)
	}
}

func (m *Manager) deleteRun(ctx context.Context, r record) error {
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	_, err = rt.Delete(ctx, runtime.ContainerID(r.ID), true)
	return err
}

// The pauses before automatic restarts, as Docker's: 100 ms, doubled each time
// up to a minute, from the beginning after a run of ten seconds.
const (
	firstPause = 100 * time.Millisecond
	longPause  = time.Minute
	goodRun    = 10 * time.Second
)

// shouldRestart applies the restart policy to an exit.
func (m *Manager) shouldRestart(r record, e runtime.Exit) (again bool, pause time.Duration) {
	return restartAfter(r.Host.RestartPolicy, r.Run, e)
}

func restartAfter(p container.RestartPolicy, r run, e runtime.Exit) (again bool, pause time.Duration) {
	if r.Stopped {
		return false, 0
	}
	switch p.Name {
	case container.RestartPolicyAlways, container.RestartPolicyUnlessStopped:
		again = true
	case container.RestartPolicyOnFailure:
		again = e.Code != 0 && (p.MaximumRetryCount == 0 || r.RestartCount < p.MaximumRetryCount)
	case container.RestartPolicyDisabled:
	}
	if e.At.Sub(r.StartedAt) >= goodRun {
		return again, firstPause
	}
	pause = firstPause
	for range r.RestartCount {
		if pause *= 2; pause > longPause {
			return again, longPause
		}
	}
	return again, pause
}

// restartLater starts the container again after a pause, unless somebody
// stops, starts or removes it meanwhile. It is called with the lock held.
func (m *Manager) restartLater(u *unit, pause time.Duration) {
	ctx, cancel := context.WithCancel(m.ctx)
	u.mu.Lock()
	u.cancelRestart = cancel
	u.mu.Unlock()
	m.spawn(func(context.Context) {
		defer cancel()
		t := time.NewTimer(pause)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if u.acquire(ctx) != nil {
			return
		}
		defer u.release()
		if ctx.Err() != nil || u.get().Run.Status != container.StateRestarting {
			return
		}
		u.change(func(r *record) { r.Run.RestartCount++ })
		if err := m.start(m.ctx, u); err != nil {
			m.log.Error("automatic restart", "container", short(u.id), "err", err)
		}
	})
}

// giveUpRestart ends the wait for a restart. It is called with the lock held.
func (m *Manager) giveUpRestart(u *unit) error {
	u.mu.Lock()
	if u.cancelRestart != nil {
		u.cancelRestart()
	}
	u.mu.Unlock()
	r, err := m.move(u, opGiveUp, nil)
	if err != nil {
		return err
	}
	return m.save(r)
}

package container

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/runtime"
)

// cleanupTimeout bounds the release of what a process had, so that a driver
// that hangs does not keep the exit from being told.
const cleanupTimeout = 20 * time.Second

// exited accounts for the end of a container's process. It may be told the
// same exit more than once, and that of a former run: the time in it is the
// former end's then, which is kept, and whatever the clock shows now.
func (m *Manager) exited(ctx context.Context, u *unit, e runtime.Exit) {
	if err := u.acquire(ctx); err != nil {
		return // the daemon ends; the next one learns of the exit from the driver
	}
	defer u.release()
	u.told()
	r := u.get()
	if !alive(r.Run.Status) || e.At.Equal(r.Run.FinishedAt) || e.At.Before(r.Run.StartedAt) && !m.confirmExit(ctx, r, &e) {
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

// settle records the end of a container's process, releases what it had and
// moves the container on: to its end, to a restart, or away. It is called
// with the lock held.
//
// Those who wait for the exit are told when the network is left, so that its
// ports are free for them; the runtime forgets the process only when its exit
// is on disk here.
func (m *Manager) settle(ctx context.Context, u *unit, e runtime.Exit) {
	u.endHealth()
	r := u.get()
	again, pause := restartAfter(r.Host.RestartPolicy, r.Run, e)
	gone := r.Host.AutoRemove && !again
	op := opExit
	if again {
		op = opExitRestart
	}
	is, err := m.next(r.ID, r.Run.Status, op)
	if err != nil {
		m.log.Error("exit", "container", short(r.ID), "err", err)
		return
	}
	r.Run.Status = is
	r.Run.ended(e)
	erased := make(chan error, 1)
	if gone {
		go func() { erased <- m.erase(u) }()
	} else {
		erased <- nil
	}
	recorded := m.releaseRun(ctx, r, gone)
	if err := <-erased; err != nil {
		m.log.Warn("automatic removal is tried again", "container", short(r.ID), "err", err)
	}
	if r, err = m.move(u, op, func(x *run) { x.ended(e) }); err != nil {
		m.log.Error("exit", "container", short(r.ID), "err", err)
		return
	}
	m.publish(r, events.ActionDie, "exitCode", strconv.Itoa(r.Run.ExitCode),
		"execDuration", strconv.Itoa(int(r.Run.FinishedAt.Sub(r.Run.StartedAt).Seconds())))
	if gone {
		if err := m.remove(ctx, u, true); err != nil {
			m.log.Error("automatic removal", "container", short(r.ID), "err", err)
		}
		return
	}
	if recorded {
		m.deleteRun(ctx, u)
	} else {
		m.recordLater(u)
	}
	if again {
		m.restartLater(u, pause) //nolint:contextcheck // goes on when the caller's context has ended
	}
}

// ended notes an exit.
func (x *run) ended(e runtime.Exit) {
	x.Pid, x.ExitCode, x.OOMKilled, x.FinishedAt = 0, e.Code, e.OOMKilled, e.At.UTC()
	if e.At.IsZero() {
		x.FinishedAt = time.Now().UTC()
	}
	if x.Unknown = !e.Known; x.Unknown {
		x.Error = "the exit status is unknown: nobody was there to learn it"
	}
	x.Network, x.First = NetworkState{}, false
}

// releaseRun leaves the network and, meanwhile, records the exit. A container
// that is to be removed needs no record; its process is forgotten instead.
// What fails is left to the next start, or the next daemon. recorded is false
// when the exit is not on disk.
func (m *Manager) releaseRun(ctx context.Context, r record, gone bool) (recorded bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	detached := make(chan error, 1)
	go func() { detached <- errors.Join(m.detach(ctx, r), m.unmountShm(r)) }()
	var err error
	if gone {
		err, recorded = m.forgetRun(ctx, r), true
	} else {
		err = m.save(r)
		recorded = err == nil
	}
	if err = errors.Join(err, <-detached); err != nil {
		m.log.Warn("release after exit", "container", short(r.ID), "err", err)
	}
	return recorded
}

func (m *Manager) forgetRun(ctx context.Context, r record) error {
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	_, err = rt.Delete(ctx, runtime.ContainerID(r.ID), true)
	return err
}

// deleteRun lets the runtime forget a process whose exit is recorded.
func (m *Manager) deleteRun(ctx context.Context, u *unit) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err := m.forgetRun(ctx, u.get()); err != nil {
		m.log.Warn("delete process", "container", short(u.id), "err", err)
		u.mu.Lock()
		u.stale = true
		u.mu.Unlock()
	}
}

// The pauses before automatic restarts, as Docker's: 100 ms, doubled each time
// up to a minute, from the beginning after a run of ten seconds.
const (
	firstPause = 100 * time.Millisecond
	longPause  = time.Minute
	goodRun    = 10 * time.Second
)

// restartAfter applies a restart policy to an exit.
func restartAfter(p container.RestartPolicy, r run, e runtime.Exit) (again bool, pause time.Duration) {
	again = goesOn(p, r, e.Code)
	if e.At.Sub(r.StartedAt) >= goodRun {
		return again, firstPause
	}
	return again, pauseAfter(r.RestartCount)
}

// goesOn says whether a restart policy goes on after a run that came to code.
func goesOn(p container.RestartPolicy, r run, code int) bool {
	if r.Stopped {
		return false
	}
	switch p.Name {
	case container.RestartPolicyAlways, container.RestartPolicyUnlessStopped:
		return true
	case container.RestartPolicyOnFailure:
		return code != 0 && (p.MaximumRetryCount == 0 || r.RestartCount < p.MaximumRetryCount)
	case container.RestartPolicyDisabled:
	}
	return false
}

// pauseAfter is the pause before another restart when there were some already.
func pauseAfter(restarts int) time.Duration {
	pause := firstPause
	for range restarts {
		if pause *= 2; pause > longPause {
			return longPause
		}
	}
	return pause
}

// restartLater starts the container again after a pause, unless somebody
// stops, starts or removes it meanwhile. It is called with the lock held.
func (m *Manager) restartLater(u *unit, pause time.Duration) {
	ctx, cancel := context.WithCancel(m.ctx)
	u.mu.Lock()
	u.cancelRestart = cancel
	u.mu.Unlock()
	mishap.Hit(mishap.RestartScheduled)
	m.spawn(func(context.Context) {
		defer cancel()
		t := time.NewTimer(pause)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-m.settled:
		}
		if u.acquire(ctx) != nil {
			return
		}
		defer u.release()
		if ctx.Err() != nil || u.get().Run.Status != container.StateRestarting {
			return
		}
		u.change(func(r *record) { r.Run.RestartCount++ })
		if err := m.startByPolicy(ctx, u); err != nil {
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

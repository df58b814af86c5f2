package container

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

// unknownExit is what is recorded of a process of which nobody knows how it
// ended.
func unknownExit() runtime.Exit { return runtime.Exit{Code: 255, At: time.Now()} }

// Recover brings the records in line with the truth, after a start of the
// daemon: containers that run on are taken back, exits in between are
// accounted for, half-done operations are undone or completed, and what
// belongs to no container is removed. Networks must have been recovered
// before. Restart policies are applied last, in the background.
func (m *Manager) Recover(ctx context.Context) error {
	m.dropHalfMade(ctx)
	m.recoverEach(ctx, m.recoverOne)
	if err := m.collect(ctx); err != nil {
		m.log.Warn("collect leftovers", "err", err)
	}
	m.recoverEach(ctx, m.completeRemoval)
	m.settledOnce.Do(func() { close(m.settled) })
	for _, u := range m.all() {
		m.follow(u.get())
	}
	m.resumePolicies()
	return nil
}

// recoverEach does a step of the recovery for all containers. What fails costs
// its own container only.
func (m *Manager) recoverEach(ctx context.Context, step func(context.Context, *unit) error) {
	slots := make(chan struct{}, 16) // a driver's answers overlap; machines with 500 containers exist
	var all sync.WaitGroup
	for _, u := range m.all() {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := step(ctx, u); err != nil {
				u.claimed(!alive(u.get().Run.Status))
				m.log.Error("recover", "container", short(u.id), "err", err)
			}
		})
	}
	all.Wait()
}

// dropHalfMade removes containers that were being created when the daemon
// died: they have a record and no snapshot.
func (m *Manager) dropHalfMade(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, driverTimeout)
	defer cancel()
	snapshots, err := m.cfg.Drivers.Storage().List(ctx)
	if err != nil {
		m.log.Error("list snapshots", "err", err)
		return
	}
	have := map[storage.SnapshotKey]bool{}
	for _, s := range snapshots {
		have[s.Key] = true
	}
	for _, u := range m.all() {
		r := u.get()
		if r.Run.Status != container.StateCreated || have[r.snapshotKey()] || r.StorageDriver != m.cfg.StorageDriver {
			continue
		}
		if err := m.remove(ctx, u, true); err != nil {
			m.log.Error("remove half-made container", "container", short(r.ID), "err", err)
		}
	}
}

func (m *Manager) recoverOne(ctx context.Context, u *unit) error {
	if err := u.acquire(ctx); err != nil {
		return err
	}
	defer u.release()
	r := u.get()
	switch {
	case alive(r.Run.Status) && r.Run.Boot != m.boot:
		m.settleLost(ctx, u, unknownExit())
		return nil
	case alive(r.Run.Status):
		return m.reclaim(ctx, u)
	case leaving(r):
		return nil // see completeRemoval
	}
	// The former daemon may have died in the midst of a start or an exit.
	return errors.Join(m.detach(ctx, r), m.unmountShm(r))
}

// leaving says that a container is to be removed: it was being removed, or has
// to be as soon as it does not run, and will not run any more.
func leaving(r record) bool {
	s := r.Run.Status
	return s == container.StateRemoving || s == container.StateDead ||
		r.Host.AutoRemove && !alive(s) && s != container.StateRestarting
}

// completeRemoval removes what the former daemon did not get to remove. It is
// called when leftovers are collected: until then, the shim of a start that was
// not completed writes into the directory.
func (m *Manager) completeRemoval(ctx context.Context, u *unit) error {
	if !leaving(u.get()) {
		return nil
	}
	if err := u.acquire(ctx); err != nil {
		return err
	}
	defer u.release()
	r := u.get()
	if !leaving(r) {
		return nil
	}
	if err := errors.Join(m.detach(ctx, r), m.unmountShm(r)); err != nil {
		return err
	}
	if r.Run.Status == container.StateRemoving {
		if _, err := m.move(u, opRemoveFail, nil); err != nil {
			return err
		}
	}
	return m.remove(ctx, u, r.Host.AutoRemove)
}

// reclaim takes back a container that ran when the daemon, or the runtime's
// driver, ended. It is called with the lock held.
func (m *Manager) reclaim(ctx context.Context, u *unit) error {
	r := u.get()
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	st, err := rt.Recover(ctx, runtime.ContainerID(r.ID), r.Run.Handle)
	switch {
	case errdefs.IsNotFound(err):
		m.settleLost(ctx, u, unknownExit())
		return nil
	case err != nil:
		return fmt.Errorf("container %s: recover: %w", short(r.ID), err)
	case st.Exit != nil:
		m.settleLost(ctx, u, *st.Exit)
		return nil
	case st.Status == runtime.Created:
		return m.undoStart(ctx, u)
	}
	u.change(func(r *record) {
		r.Run.Pid, r.Run.First = st.Pid, false
		if !st.StartedAt.IsZero() {
			r.Run.StartedAt = st.StartedAt.UTC()
		}
	})
	if err := m.matchPause(u, st.Status); err != nil {
		return err
	}
	m.ensureEnded(u)
	if !r.Host.NetworkMode.IsContainer() {
		n, err := m.cfg.Networks.Recover(ctx, r.ID)
		if err != nil {
			m.log.Error("recover network", "container", short(r.ID), "err", err)
		} else {
			u.change(func(r *record) { r.Run.Network = n })
		}
	}
	if u.healthStatus() == container.NoHealthcheck {
		m.startHealth(u, u.get()) //nolint:contextcheck // outlives the recovery
	}
	return nil
}

// matchPause follows a freeze or thaw that was done but not recorded.
func (m *Manager) matchPause(u *unit, s runtime.Status) error {
	recorded := u.get().Run.Status
	var err error
	switch {
	case s == runtime.Paused && recorded == container.StateRunning:
		_, err = m.move(u, opPause, nil)
	case s == runtime.Running && recorded == container.StatePaused:
		_, err = m.move(u, opUnpause, nil)
	}
	return err
}

// ensureEnded makes the channel that tells the end of a run that began under
// another daemon.
func (m *Manager) ensureEnded(u *unit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended == nil {
		u.ended = make(chan struct{})
	}
}

// settleLost accounts for an end that happened while nobody watched.
func (m *Manager) settleLost(ctx context.Context, u *unit, e runtime.Exit) {
	m.ensureEnded(u)
	m.settle(ctx, u, e)
}

// undoStart takes back a start that the former daemon did not finish: its
// client never had an answer. As after one that failed, a container that never
// ran is "created" again.
func (m *Manager) undoStart(ctx context.Context, u *unit) error {
	m.releaseRun(ctx, u.get(), true)
	m.ensureEnded(u)
	op := opExit
	if u.get().Run.First {
		op = opUnstart
	}
	r, err := m.move(u, op, func(x *run) {
		x.Pid, x.ExitCode, x.Error = 0, codeUnknown, "the daemon ended while the container was being started"
		x.Network, x.First = NetworkState{}, false
		if op == opUnstart {
			x.StartedAt = time.Time{}
		}
	})
	if err != nil {
		return err
	}
	if r.Host.AutoRemove {
		return m.remove(ctx, u, true)
	}
	return m.save(r)
}

// resumePolicies starts what restart policies want to run although it does
// not: after a reboot, or because the daemon ended during a pause.
func (m *Manager) resumePolicies() {
	for _, u := range m.all() {
		r := u.get()
		if !wantsRun(r) {
			continue
		}
		m.spawn(func(ctx context.Context) {
			if u.acquire(ctx) != nil {
				return
			}
			defer u.release()
			if s := u.get().Run.Status; s != container.StateExited && s != container.StateRestarting {
				return
			}
			u.mu.Lock()
			waiting := u.cancelRestart != nil
			u.mu.Unlock()
			if waiting {
				return
			}
			if u.get().Run.Status == container.StateRestarting { // the restart that the former daemon waited for
				u.change(func(r *record) { r.Run.RestartCount++ })
			}
			if err := m.startByPolicy(ctx, u); err != nil {
				m.log.Error("start by restart policy", "container", short(u.id), "err", err)
			}
		})
	}
}

// wantsRun applies the restart policy at a start of the daemon: "always"
// forgets that somebody stopped the container, as Docker's does.
func wantsRun(r record) bool {
	if r.Run.Status == container.StateRestarting {
		return true
	}
	if r.Run.Status != container.StateExited || r.Run.StartedAt.IsZero() {
		return false
	}
	switch p := r.Host.RestartPolicy; p.Name {
	case container.RestartPolicyAlways:
		return true
	case container.RestartPolicyUnlessStopped:
		return !r.Run.Stopped
	case container.RestartPolicyOnFailure:
		return !r.Run.Stopped && r.Run.ExitCode != 0 && (p.MaximumRetryCount == 0 || r.Run.RestartCount < p.MaximumRetryCount)
	case container.RestartPolicyDisabled:
	}
	return false
}

// RetryRemovals completes, in the background, removals that failed because the
// storage driver was not there. It is called when that is launched again.
func (m *Manager) RetryRemovals(context.Context, string) error {
	for _, u := range m.all() {
		if u.get().Run.Status != container.StateDead {
			continue
		}
		m.spawn(func(ctx context.Context) {
			if u.acquire(ctx) != nil {
				return
			}
			defer u.release()
			r := u.get()
			if r.Run.Status != container.StateDead {
				return
			}
			if err := m.remove(ctx, u, r.Host.AutoRemove); err != nil {
				m.log.Error("remove", "container", short(u.id), "err", err)
			}
		})
	}
	return nil
}

// RecoverRuntime takes containers back after a relaunch of a runtime driver,
// before other calls reach it, and completes what the recovery at the daemon's
// start could not do without the driver. It takes no container's lock, as
// holders of one may be waiting for the driver.
func (m *Manager) RecoverRuntime(ctx context.Context, driverName string) error {
	var g errgroup.Group
	g.SetLimit(16)
	for _, u := range m.all() {
		r := u.get()
		handle, ok := u.handle()
		if r.RuntimeDriver != driverName || !ok {
			continue
		}
		g.Go(func() error {
			rt, err := m.runtimeOf(r)
			if err != nil {
				return err
			}
			st, err := rt.Recover(ctx, runtime.ContainerID(r.ID), handle)
			exit := unknownExit()
			switch {
			case !u.claimed(true):
				m.spawn(func(ctx context.Context) { m.claim(ctx, u) })
				return nil
			case errdefs.IsNotFound(err):
			case err != nil:
				m.log.Error("recover after relaunch", "container", short(r.ID), "err", err)
				return nil
			case st.Exit != nil:
				exit = *st.Exit
			default:
				return nil
			}
			m.spawn(func(ctx context.Context) { m.exited(ctx, u, exit) })
			return nil
		})
	}
	return errors.Join(g.Wait(), m.collectLate(ctx, driverName))
}

// claim takes a container back that could not be when the daemon started.
func (m *Manager) claim(ctx context.Context, u *unit) {
	err := u.acquire(ctx)
	if err == nil {
		defer u.release()
		if alive(u.get().Run.Status) {
			err = m.reclaim(ctx, u)
		}
		// A restart that was taken back is made again.
		if r := u.get(); err == nil && r.Run.Status == container.StateExited && goesOn(r.Host.RestartPolicy, r.Run, r.Run.ExitCode) {
			err = m.startByPolicy(ctx, u)
		}
	}
	if err != nil {
		u.claimed(false)
		m.log.Error("recover", "container", short(u.id), "err", err)
	}
}

package container

import (
	"context"
	"errors"
	"time"

	"github.com/moby/moby/api/types/container"
)

// The pauses between attempts to write a record that could not be written.
const (
	firstRecordPause = 500 * time.Millisecond
	longRecordPause  = 15 * time.Second
)

// recordLater writes a container's record as soon as that can be done, for
// example when the disk is no longer full. Until then the runtime keeps the
// exit, and the next daemon learns of it there. It is called with the lock
// held.
func (m *Manager) recordLater(u *unit) {
	u.mu.Lock()
	u.stale = true
	u.mu.Unlock()
	m.spawn(func(ctx context.Context) {
		for pause := firstRecordPause; ; pause = min(2*pause, longRecordPause) {
			t := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			if m.recordNow(ctx, u) {
				return
			}
		}
	})
}

// recordNow tries to write the record, and says whether nothing is left to do.
func (m *Manager) recordNow(ctx context.Context, u *unit) (done bool) {
	if u.acquire(ctx) != nil {
		return true // the daemon ends
	}
	defer u.release()
	u.mu.Lock()
	removed := u.removed
	u.mu.Unlock()
	if removed {
		return true
	}
	r := u.get()
	if err := m.save(r); err != nil {
		return false
	}
	if alive(r.Run.Status) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	if err := m.clearStale(ctx, u, r); err != nil {
		m.log.Warn("delete process", "container", short(u.id), "err", err)
	}
	return true
}

// startByPolicy starts a container as its restart policy wants. When the
// machine is at fault and not the command, such as by a full disk or a driver
// that is away, it is tried again later. It is called with the lock held.
func (m *Manager) startByPolicy(ctx context.Context, u *unit) error {
	err := m.start(ctx, u)
	if err == nil {
		return nil
	}
	r := u.get()
	if r.Run.Status != container.StateExited || r.Run.ExitCode != codeUnknown ||
		r.Host.AutoRemove || !goesOn(r.Host.RestartPolicy, r.Run, r.Run.ExitCode) {
		return err
	}
	r, moveErr := m.move(u, opRetry, nil)
	if moveErr != nil {
		return errors.Join(err, moveErr)
	}
	m.restartLater(u, pauseAfter(r.Run.RestartCount)) //nolint:contextcheck // goes on when this attempt is over
	return errors.Join(err, m.save(r))
}

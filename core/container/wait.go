package container

import (
	"context"

	"github.com/moby/moby/api/types/container"
)

// waiter waits for an exit or for the removal.
type waiter struct {
	removal bool
	ch      chan container.WaitResponse // buffered: the teller never waits
}

// Wait implements containers.Reader.
func (m *Manager) Wait(ctx context.Context, ref string, c container.WaitCondition) (func() (container.WaitResponse, error), error) {
	u, err := m.find(ref)
	if err != nil {
		return nil, err
	}
	switch c {
	case "", container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return nil, invalid("invalid condition: %q", c)
	}
	w := &waiter{removal: c == container.WaitConditionRemoved, ch: make(chan container.WaitResponse, 1)}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.removed || !active(u.rec.Run.Status) && c != container.WaitConditionNextExit && c != container.WaitConditionRemoved {
		w.ch <- u.answer()
	} else {
		u.waiters = append(u.waiters, w)
	}
	return func() (container.WaitResponse, error) {
		select {
		case r := <-w.ch:
			return r, nil
		case <-ctx.Done():
			u.forget(w)
			return container.WaitResponse{}, ctx.Err()
		case <-m.ctx.Done():
			return container.WaitResponse{}, m.ctx.Err()
		}
	}, nil
}

// answer is called with mu held.
func (u *unit) answer() container.WaitResponse {
	r := container.WaitResponse{StatusCode: int64(u.rec.Run.ExitCode)}
	// Why a start failed is for those who started it; Docker's clients would
	// print it twice.
	if u.rec.Run.Unknown {
		r.Error = &container.WaitExitError{Message: u.rec.Run.Error}
	}
	return r
}

// notify answers those who wait for an exit and, when the container is
// removed, all. It is called with mu held.
func (u *unit) notify(removal bool) {
	var left []*waiter
	for _, w := range u.waiters {
		if w.removal && !removal {
			left = append(left, w)
			continue
		}
		w.ch <- u.answer()
	}
	u.waiters = left
}

func (u *unit) forget(w *waiter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, have := range u.waiters {
		if have == w {
			u.waiters = append(u.waiters[:i:i], u.waiters[i+1:]...)
			return
		}
	}
}

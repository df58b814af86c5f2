package unpack

import (
	"context"
	"sync"
)

// queue lets the layers of one image enter the slots in order, so that the
// largest begins first although each has a goroutine of its own.
type queue struct {
	mu    sync.Mutex
	turn  map[int]chan struct{} // closed when it is the layer's turn; guarded by mu
	order []int                 // guarded by mu; those that wait
}

func newQueue(order []int) *queue {
	q := &queue{turn: map[int]chan struct{}{}, order: append([]int(nil), order...)}
	for _, i := range order {
		q.turn[i] = make(chan struct{})
	}
	if len(order) > 0 {
		close(q.turn[order[0]])
	}
	return q
}

// pass gives the layer's turn away.
func (q *queue) pass(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n, o := range q.order {
		if o != i {
			continue
		}
		q.order = append(q.order[:n], q.order[n+1:]...)
		if n == 0 && len(q.order) > 0 {
			close(q.turn[q.order[0]])
		}
		return
	}
}

// enter waits for the layer's turn and then for a slot.
func (q *queue) enter(ctx context.Context, slots chan struct{}, i int) (release func(), err error) {
	defer q.pass(i)
	q.mu.Lock()
	turn := q.turn[i]
	q.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Package events carries the daemon's events from those who cause them to
// those who watch, with a bounded past.
package events

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/core/api/system"
	"github.com/strakehq/strake/core/filter"
)

// History is the number of past events kept, as Docker keeps.
const History = 256

// backlog is how many events a subscriber may lag behind before it is cut off:
// publishers never wait.
const backlog = 1024

// Bus delivers events. The zero value is ready; it is safe for concurrent use.
type Bus struct {
	mu   sync.Mutex
	past []events.Message         // guarded by mu; oldest first, at most History
	subs map[*subscriber]struct{} // guarded by mu
}

var _ system.Events = (*Bus)(nil)

type subscriber struct {
	filter filter.Args
	ch     chan events.Message
	lagged bool // guarded by Bus.mu; set before ch is closed
}

// Publish tells all subscribers, without waiting for any. attrs is copied.
func (b *Bus) Publish(t events.Type, a events.Action, id string, attrs map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now() // under the lock: times never go backwards in a stream
	m := events.Message{
		Type: t, Action: a, Actor: events.Actor{ID: id, Attributes: maps.Clone(attrs)},
		Scope: "local", Time: now.Unix(), TimeNano: now.UnixNano(),
	}
	if m.Actor.Attributes == nil {
		m.Actor.Attributes = map[string]string{}
	}
	if len(b.past) == History {
		b.past = append(b.past[:0], b.past[1:]...)
	}
	b.past = append(b.past, m)
	for s := range b.subs {
		if Match(s.filter, m) {
			b.send(s, m)
		}
	}
}

// send is called with mu held.
func (b *Bus) send(s *subscriber, m events.Message) {
	select {
	case s.ch <- m:
	default:
		s.lagged = true
		delete(b.subs, s)
		close(s.ch)
	}
}

// Subscribe implements system.Events. A subscriber that falls more than 1024
// events behind gets those and then ErrResourceExhausted.
func (b *Bus) Subscribe(ctx context.Context, since, until time.Time, f filter.Args) (iter.Seq2[events.Message, error], error) {
	if !until.IsZero() && until.Before(since) {
		return nil, fmt.Errorf("`since` time (%s) cannot be after `until` time (%s): %w", since.Format(time.RFC3339), until.Format(time.RFC3339), errdefs.ErrInvalidArgument)
	}
	cancel := func() {}
	if !until.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, until)
	}
	b.mu.Lock()
	past := b.between(since, until, f)
	s := &subscriber{filter: f, ch: make(chan events.Message, backlog)}
	if b.subs == nil {
		b.subs = map[*subscriber]struct{}{}
	}
	b.subs[s] = struct{}{}
	b.mu.Unlock()
	context.AfterFunc(ctx, func() {
		cancel()
		b.unsubscribe(s)
	})
	return func(yield func(events.Message, error) bool) {
		defer b.unsubscribe(s)
		defer cancel()
		for _, m := range past {
			if !yield(m, nil) {
				return
			}
		}
		b.drain(s, yield)
	}, nil
}

func (b *Bus) drain(s *subscriber, yield func(events.Message, error) bool) {
	for m := range s.ch {
		if !yield(m, nil) {
			return
		}
	}
	b.mu.Lock()
	lagged := s.lagged
	b.mu.Unlock()
	if lagged {
		yield(events.Message{}, fmt.Errorf("events: the client reads too slowly and has fallen %d events behind: %w", backlog, errdefs.ErrResourceExhausted))
	}
}

// unsubscribe may be called more than once.
func (b *Bus) unsubscribe(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.subs[s]; ok {
		delete(b.subs, s)
		close(s.ch)
	}
}

// between is called with mu held.
func (b *Bus) between(since, until time.Time, f filter.Args) (out []events.Message) {
	if since.IsZero() && until.IsZero() {
		return nil
	}
	for _, m := range b.past {
		t := time.Unix(0, m.TimeNano)
		if !t.Before(since) && (until.IsZero() || !t.After(until)) && Match(f, m) {
			out = append(out, m)
		}
	}
	return out
}

// Package trace keeps the traces of the last minutes. A client asks for one by
// sending a sampled W3C traceparent header; all its requests with the same
// trace id add to one trace, which can be read while they still run.
package trace

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/trace"
)

// Bounds of what a Store keeps.
const (
	// MaxTraces is the number of traces; the oldest goes first.
	MaxTraces = 128
	// MaxAge is how long a trace is kept after its first request.
	MaxAge = 10 * time.Minute
)

// Store keeps traces in memory. It is safe for concurrent use. The zero value
// is not useful, see New.
type Store struct {
	now func() time.Time

	mu     sync.Mutex
	traces map[string]*entry // guarded by mu; by trace id
	order  []string          // guarded by mu; oldest first
}

type entry struct {
	began time.Time
	rec   *trace.Recorder
}

// New makes an empty store.
func New() *Store { return &Store{now: time.Now, traces: map[string]*entry{}} }

// Middleware has every request with a sampled traceparent recorded, as a span
// of its own that the spans of its work are children of. The response writer
// is passed on as it is, so that connections can be hijacked.
func (s *Store) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parent := r.Header.Get("Traceparent")
		if parent == "" {
			next.ServeHTTP(w, r)
			return
		}
		ctx, ok := s.into(r.Context(), parent)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		ctx, end := trace.Start(ctx, r.Method+" "+r.URL.Path)
		defer end(nil)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s *Store) into(ctx context.Context, parent string) (context.Context, bool) {
	rec := &trace.Recorder{}
	if _, ok := trace.Into(ctx, rec, parent); !ok {
		return ctx, false
	}
	return trace.Into(ctx, s.recorder(strings.Split(parent, "-")[1]), parent)
}

// recorder returns the recorder of a trace, a new one when it is not known.
func (s *Store) recorder(id string) *trace.Recorder {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if e, ok := s.traces[id]; ok {
		return e.rec
	}
	e := &entry{began: s.now(), rec: &trace.Recorder{}}
	s.traces[id] = e
	s.order = append(s.order, id)
	return e.rec
}

// expire makes room for one trace more. The caller holds mu.
func (s *Store) expire() {
	for len(s.order) > 0 {
		oldest := s.order[0]
		if len(s.order) < MaxTraces && s.now().Sub(s.traces[oldest].began) < MaxAge {
			return
		}
		delete(s.traces, oldest)
		s.order = s.order[1:]
	}
}

// Trace returns the finished spans of a trace, by start. ErrNotFound when it is
// not known (any more).
func (s *Store) Trace(_ context.Context, id string) ([]trace.Span, error) {
	s.mu.Lock()
	e, ok := s.traces[strings.ToLower(id)]
	old := ok && s.now().Sub(e.began) >= MaxAge
	s.mu.Unlock()
	if !ok || old {
		return nil, fmt.Errorf("No such trace: %s (the last %d are kept, for %s): %w", id, MaxTraces, MaxAge, errdefs.ErrNotFound) //nolint:staticcheck // Docker's clients begin these in upper case
	}
	spans := e.rec.Spans()
	slices.SortStableFunc(spans, func(a, b trace.Span) int { return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End)) })
	return spans, nil
}

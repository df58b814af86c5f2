// Package trace records what one request does, in every process that it
// crosses, as OpenTelemetry-shaped spans (W3C trace and span ids, nanosecond
// times) without linking OpenTelemetry into every driver.
//
// A span is recorded only when the context carries a recorder, so the cost of
// tracing is one context look-up for everybody else. Drivers record through
// the same calls: the SDK's server side gives each call of a traced request a
// recorder of its own and returns its spans with the answer.
package trace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Span is one timed piece of work.
type Span struct {
	TraceID string            `json:"traceId"`
	SpanID  string            `json:"spanId"`
	Parent  string            `json:"parentSpanId,omitempty"`
	Name    string            `json:"name"`
	Process string            `json:"process"` // base name of the executable
	Pid     int               `json:"pid"`
	Start   time.Time         `json:"start"`
	End     time.Time         `json:"end"`
	Attrs   map[string]string `json:"attributes,omitempty"`
	Err     string            `json:"error,omitempty"`
}

// Recorder collects finished spans. It is safe for concurrent use.
type Recorder struct {
	mu    sync.Mutex
	spans []Span // guarded by mu
}

// Add stores finished spans.
func (r *Recorder) Add(s ...Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, s...)
}

// Spans returns a copy of what was recorded so far.
func (r *Recorder) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Span(nil), r.spans...)
}

type position struct {
	rec             *Recorder
	traceID, spanID string
}

type key struct{}

// Into returns a context whose spans go to rec, as children of the position
// that the W3C traceparent names. ok is false, and the context unchanged, when
// the traceparent is malformed or not sampled.
func Into(ctx context.Context, rec *Recorder, traceparent string) (_ context.Context, ok bool) {
	f := strings.Split(traceparent, "-")
	if len(f) != 4 || f[0] != "00" || len(f[1]) != 32 || len(f[2]) != 16 || f[3] != "01" {
		return ctx, false
	}
	for _, h := range f[1:3] {
		if _, err := hex.DecodeString(h); err != nil {
			return ctx, false
		}
	}
	return context.WithValue(ctx, key{}, position{rec, f[1], f[2]}), true
}

// Parent returns the W3C traceparent of the context's position, empty when
// nothing is recorded.
func Parent(ctx context.Context) string {
	p, ok := ctx.Value(key{}).(position)
	if !ok {
		return ""
	}
	return fmt.Sprintf("00-%s-%s-01", p.traceID, p.spanID)
}

// From returns the context's recorder, or nil.
func From(ctx context.Context) *Recorder {
	p, _ := ctx.Value(key{}).(position)
	return p.rec
}

// NewParent makes a traceparent for a new, sampled trace.
func NewParent() (traceID, traceparent string) {
	traceID = randomHex(16)
	return traceID, fmt.Sprintf("00-%s-%s-01", traceID, randomHex(8))
}

// Start begins a span. End it with the function returned, once; err may be
// nil.
func Start(ctx context.Context, name string, attrs ...string) (context.Context, func(err error)) {
	p, ok := ctx.Value(key{}).(position)
	if !ok {
		return ctx, func(error) {}
	}
	s := Span{
		TraceID: p.traceID, SpanID: randomHex(8), Parent: p.spanID, Name: name,
		Process: filepath.Base(os.Args[0]), Pid: os.Getpid(), Start: time.Now(),
	}
	for i := 0; i+1 < len(attrs); i += 2 {
		if s.Attrs == nil {
			s.Attrs = map[string]string{}
		}
		s.Attrs[attrs[i]] = attrs[i+1]
	}
	ctx = context.WithValue(ctx, key{}, position{p.rec, p.traceID, s.SpanID})
	return ctx, func(err error) {
		s.End = time.Now()
		if err != nil && !errdefs.IsNotFound(err) { // to look and find nothing is an answer
			s.Err = err.Error()
		}
		p.rec.Add(s)
	}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

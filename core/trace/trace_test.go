package trace

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/trace"
)

func serve(s *Store, parent string) {
	h := s.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, end := trace.Start(r.Context(), "work")
		end(errors.New("broken"))
	}))
	r := httptest.NewRequest(http.MethodPost, "/containers/create", nil)
	r.Header.Set("Traceparent", parent)
	h.ServeHTTP(httptest.NewRecorder(), r)
}

func TestRequestsOfOneTraceAreJoined(t *testing.T) {
	s := New()
	id, parent := trace.NewParent()
	serve(s, parent)
	serve(s, parent)
	spans, err := s.Trace(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if len(spans) != 4 {
		t.Fatalf("got %d spans, want 4: %+v", len(spans), spans)
	}
	outer, inner := spans[0], spans[1]
	if outer.Name != "POST /containers/create" || inner.Parent != outer.SpanID || inner.Err != "broken" {
		t.Errorf("spans do not nest: %+v %+v", outer, inner)
	}
}

func TestUnsampledAndMalformedHeadersAreNotRecorded(t *testing.T) {
	s := New()
	id, parent := trace.NewParent()
	for _, p := range []string{"", "x", parent[:len(parent)-1] + "0"} {
		serve(s, p)
	}
	if _, err := s.Trace(t.Context(), id); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
}

func TestTracesAreBoundedInNumberAndAge(t *testing.T) {
	s := New()
	now := time.Now()
	s.now = func() time.Time { return now }
	id, first := trace.NewParent()
	serve(s, first)
	for range MaxTraces {
		_, p := trace.NewParent()
		serve(s, p)
	}
	if _, err := s.Trace(t.Context(), id); !errdefs.IsNotFound(err) {
		t.Errorf("the oldest is still there: %v", err)
	}
	id, last := trace.NewParent()
	serve(s, last)
	now = now.Add(MaxAge)
	if _, err := s.Trace(t.Context(), id); !errdefs.IsNotFound(err) {
		t.Errorf("an old one is still there: %v", err)
	}
	serve(s, first)
	if len(s.traces) != 1 || len(s.order) != 1 {
		t.Errorf("%d traces kept, want 1", len(s.traces))
	}
}

package stream

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/jsonstream"
)

// stalled is a client that reads nothing until it is let go.
type stalled struct {
	*httptest.ResponseRecorder
	wrote chan struct{} // gets an element when the first write begins
	gate  chan struct{}
	once  sync.Once
}

func (s *stalled) Write(p []byte) (int, error) {
	s.once.Do(func() { s.wrote <- struct{}{} })
	<-s.gate
	return s.ResponseRecorder.Write(p)
}

func bar(id string, n int64) jsonstream.Message {
	return jsonstream.Message{ID: id, Status: "Downloading", Progress: &jsonstream.Progress{Current: n}}
}

func TestAStalledClientNeitherHoldsUpNorFillsMemory(t *testing.T) {
	w := &stalled{ResponseRecorder: httptest.NewRecorder(), wrote: make(chan struct{}, 1), gate: make(chan struct{})}
	p := NewProgress(w)
	p.Send(jsonstream.Message{Status: "Pulling"})
	<-w.wrote
	for i := range int64(10000) {
		p.Send(bar("a", i))
		p.Send(bar("b", i))
	}
	p.Send(jsonstream.Message{ID: "a", Status: "Download complete"})
	p.Send(bar("b", 10000))
	close(w.gate)
	if err := p.Finish(nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"status":"Pulling"}`,
		`{"status":"Downloading","progressDetail":{"current":9999},"id":"a"}`,
		`{"status":"Downloading","progressDetail":{"current":9999},"id":"b"}`,
		`{"status":"Download complete","id":"a"}`,
		`{"status":"Downloading","progressDetail":{"current":10000},"id":"b"}`,
	}
	if got := strings.Split(strings.TrimSpace(w.Body.String()), "\r\n"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestProgressFromManySides(t *testing.T) {
	w := httptest.NewRecorder()
	p := NewProgress(w)
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			for range 100 {
				p.Send(jsonstream.Message{Status: fmt.Sprint(i)})
			}
		})
	}
	g.Wait()
	if err := p.Finish(errors.New("in the end")); err != nil {
		t.Fatal(err)
	}
	p.Send(jsonstream.Message{Status: "too late"})
	if got := w.Body.String(); strings.Count(got, "\r\n") != 801 || !strings.HasSuffix(got, "\"error\":\"in the end\"}\r\n") {
		t.Errorf("got %d lines ending in %q", strings.Count(got, "\r\n"), got[max(0, len(got)-60):])
	}
}

// broken is a client that is gone.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestProgressToNobodyEnds(t *testing.T) {
	p := NewProgress(broken{httptest.NewRecorder()})
	for range 1000 {
		p.Send(jsonstream.Message{Status: "x"})
	}
	if err := p.Finish(errors.New("canceled")); err != nil {
		t.Error(err)
	}
}

func TestWriterSendsWithinAMomentAndKeepsOrder(t *testing.T) {
	lines := make(chan string)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := NewWriter(w)
		defer s.Close()
		for l := range lines {
			if _, err := s.Write([]byte(l)); err != nil {
				t.Error(err)
			}
		}
	}))
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL) // returns with the header
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, l := range []string{"a", "b", strings.Repeat("c", 3*size), "d"} {
		lines <- l
		got := make([]byte, len(l))
		for n := 0; n < len(got); {
			m, err := resp.Body.Read(got[n:])
			if n += m; err != nil {
				t.Fatal(err)
			}
		}
		if string(got) != l {
			t.Errorf("got %.20q, want %.20q", got, l)
		}
	}
	close(lines)
}

func TestWriterTellsThatTheClientIsGone(t *testing.T) {
	s := NewWriter(broken{httptest.NewRecorder()})
	defer s.Close()
	if _, err := s.Write([]byte("a")); err != nil {
		t.Error(err)
	}
	if err := s.Flush(); err == nil {
		t.Error("no error")
	}
	if _, err := s.Write([]byte("b")); err == nil {
		t.Error("no error later")
	}
}

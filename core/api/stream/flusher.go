// Package stream writes responses that go on for as long as there is news.
package stream

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// delay is how long written bytes may wait for more before they are sent. It
// is not felt by somebody who follows a log, and saves a system call and a
// chunk per line when lines come fast.
const delay = 2 * time.Millisecond

// size is how much waits at most.
const size = 32 << 10

// Writer sends what is written to it within a moment. It is safe for
// concurrent use.
type Writer struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	buf   []byte
	timer *time.Timer
	armed bool
	err   error
}

// NewWriter sends the response's header at once, so that clients know that
// the stream has begun, and returns the writer of its body. Close it.
func NewWriter(w http.ResponseWriter) *Writer {
	s := &Writer{w: w, buf: make([]byte, 0, size)}
	w.WriteHeader(http.StatusOK)
	s.err = http.NewResponseController(w).Flush()
	return s
}

var _ io.Writer = (*Writer)(nil)

// Write implements io.Writer. An error may be that of an earlier write: the
// client is gone.
func (s *Writer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buf)+len(p) > size {
		s.send()
	}
	s.buf = append(s.buf, p...)
	if s.err == nil && !s.armed {
		s.armed = true
		if s.timer == nil {
			s.timer = time.AfterFunc(delay, s.expire)
		} else {
			s.timer.Reset(delay)
		}
	}
	if s.err != nil {
		return 0, s.err
	}
	return len(p), nil
}

func (s *Writer) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed {
		s.armed = false
		s.send()
	}
}

// send is called with mu held.
func (s *Writer) send() {
	if s.err == nil && len(s.buf) > 0 {
		if _, s.err = s.w.Write(s.buf); s.err == nil {
			s.err = http.NewResponseController(s.w).Flush()
		}
	}
	s.buf = s.buf[:0]
}

// Flush sends what waits.
func (s *Writer) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	s.send()
	return s.err
}

// Close sends what waits and ends the writer's use of the response. What could
// not be sent is lost with the client; a Flush before tells.
func (s *Writer) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	if s.timer != nil {
		s.timer.Stop()
	}
	s.send()
}

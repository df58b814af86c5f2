package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

// registryServer is a registry in this process, with faults.
type registryServer struct {
	*httptest.Server
	host  string
	inner http.Handler

	mu     sync.Mutex
	fault  func(w http.ResponseWriter, r *http.Request) bool // guarded by mu; true: answered
	header []http.Header                                     // guarded by mu; of all requests
}

func newRegistryServer(t *T, opts ...ggcr.Option) *registryServer {
	s := &registryServer{inner: ggcr.New(append(opts, ggcr.Logger(log.New(io.Discard, "", 0)))...)}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // broken connections are meant
	s.Start()
	t.Cleanup(s.Close)
	s.host = strings.TrimPrefix(s.URL, "http://")
	return s
}

// setFault sets the fault, which sees every request first.
func (s *registryServer) setFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// seen returns the headers of all requests since the last call.
func (s *registryServer) seen() []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.header
	s.header = nil
	return h
}

func (s *registryServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fault := s.fault
	s.header = append(s.header, r.Header.Clone())
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	s.serve(w, r)
}

// serve is the registry without its faults. Blobs are served with ranges as
// RFC 9110 has them.
func (s *registryServer) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !isBlobPath(r) {
		s.inner.ServeHTTP(w, r)
		return
	}
	plain := r.Clone(r.Context())
	plain.Header.Del("Range")
	rec := httptest.NewRecorder()
	s.inner.ServeHTTP(rec, plain)
	if rec.Code != http.StatusOK {
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()) // the client's affair
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(rec.Body.Bytes()))
}

// body is a blob as the registry has it.
func (s *registryServer) body(r *http.Request) []byte {
	plain := r.Clone(r.Context())
	plain.Header.Del("Range")
	rec := httptest.NewRecorder()
	s.inner.ServeHTTP(rec, plain)
	return rec.Body.Bytes()
}

func isBlobPath(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/blobs/sha256:")
}

func isBlobGet(r *http.Request) bool { return r.Method == http.MethodGet && isBlobPath(r) }

// deny answers with an error of the OCI distribution specification.
func deny(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	type diag struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	_ = json.NewEncoder(w).Encode(map[string][]diag{"errors": {{code, message}}}) // the client's affair
}

// cut sends some of a body and breaks the connection.
func cut(w http.ResponseWriter, body []byte) {
	_, _ = w.Write(body) // the client's affair
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

// times runs f for the first n requests that match.
func times(n int, match func(*http.Request) bool, f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !match(r) {
			return false
		}
		mu.Lock()
		n--
		now := n >= 0
		mu.Unlock()
		if now {
			f(w, r)
		}
		return now
	}
}

// Package api serves the Docker Engine API: it takes the version off a path,
// finds the route, and turns errors and panics into answers. The routes are in
// one package per noun, each of which declares the backend that it calls.
package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/api/absent"
	"github.com/strakehq/strake/core/api/httperr"
	"github.com/strakehq/strake/core/api/router"
	"github.com/strakehq/strake/core/api/version"
)

// Config says what to serve.
type Config struct {
	// Routes of the noun packages.
	Routes []router.Route
	// Version of the daemon, for the Server header.
	Version string
	Logger  hclog.Logger
}

type server struct {
	table  *router.Table
	banner string
	log    hclog.Logger
}

// New makes the API's handler. It needs the connection's own ResponseWriter:
// attach and exec take the connection over.
func New(c Config) http.Handler {
	return &server{
		table:  router.NewTable(slices.Concat(c.Routes, absent.Routes())),
		banner: fmt.Sprintf("Strake/%s (%s)", c.Version, runtime.GOOS),
		log:    c.Logger,
	}
}

// NewHTTPServer wraps a handler with the limits that keep slow and abandoned
// clients from piling up. Bodies and answers have no deadline: loads, pulls
// and logs take as long as they take.
func NewHTTPServer(h http.Handler, log hclog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: time.Minute,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    256 << 10,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	rec := &recorder{ResponseWriter: w}
	err := s.serve(rec, r)
	switch {
	case r.Context().Err() != nil && rec.status == 0:
		// The client is gone, or it has closed its side alone and reads on:
		// without a word it would be told that all went well. 499 is what
		// nginx logs then.
		if err != nil {
			if writeErr := httperr.Write(w, err); writeErr != nil {
				s.log.Debug("client is gone", "method", r.Method, "path", r.URL.Path, "err", writeErr)
			}
		}
		rec.status = 499
	case err != nil && rec.status != 0:
		s.log.Debug("answer broke off", "method", r.Method, "path", r.URL.Path, "err", err)
	case err != nil:
		s.fail(rec, r, err)
	}
	// Never the query or headers: they may hold credentials.
	s.log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", max(rec.status, http.StatusOK), "took", time.Since(begin))
}

// serve runs the route's handler and returns its error or panic.
func (s *server) serve(w *recorder, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // net/http compares likewise
			panic(p)
		} else if p != nil {
			s.log.Error("panic", "method", r.Method, "path", r.URL.Path, "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s %s: the daemon hit a bug, see its log: %w", r.Method, r.URL.Path, errdefs.ErrInternal)
		}
	}()
	h := w.Header()
	h.Set("Server", s.banner)
	h.Set("Api-Version", version.Newest)
	h.Set("Ostype", runtime.GOOS)
	h.Set("Docker-Experimental", "false")
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	asked, path := splitVersion(r.URL.Path)
	handle, vars, ok := s.table.Find(r.Method, path)
	if !ok {
		// Docker says so too when only the method is wrong.
		return errdefs.ErrNotFound.WithMessage("page not found")
	}
	v, err := version.Check(asked)
	if err != nil {
		return err
	}
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return fmt.Errorf("malformed query: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	ctx := version.Into(r.Context(), v)
	return handle(ctx, w, r.WithContext(ctx), vars)
}

// fail answers with an error.
func (s *server) fail(w *recorder, r *http.Request, err error) {
	var writeErr error
	if asked, _ := splitVersion(r.URL.Path); isAncient(asked) {
		// Clients this old show the body as it is.
		http.Error(w, httperr.Message(err), httperr.Status(err))
	} else {
		writeErr = httperr.Write(w, err)
	}
	// Other statuses are the client's affair.
	if w.status == http.StatusInternalServerError || w.status == http.StatusGatewayTimeout {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "status", w.status, "err", errors.Join(err, writeErr))
	}
}

// splitVersion takes "/v1.41" off a path. A path without it has no version.
func splitVersion(path string) (v, rest string) {
	tail, ok := strings.CutPrefix(path, "/v")
	if !ok || tail == "" || tail[0] < '0' || tail[0] > '9' {
		return "", path
	}
	v, rest, ok = strings.Cut(tail, "/")
	if !ok || strings.Trim(v, "0123456789.") != "" {
		return "", path
	}
	return v, "/" + rest
}

func isAncient(asked string) bool {
	v, err := version.Parse(asked)
	return err == nil && v.Before(1, 24)
}

// Package profile serves the daemon's own profiles under the paths that Docker's
// daemon has them at when it is being debugged: what go tool pprof asks for.
package profile

import (
	"context"
	"net/http"
	"net/http/pprof" //nolint:gosec // what it adds to http.DefaultServeMux, nothing here serves
	runtime "runtime/pprof"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/api/router"
)

// Routes returns the routes of profiles. They show what the daemon does, never
// what it holds; who may ask is whoever may use the API.
func Routes() []router.Route {
	return []router.Route{
		router.Get("/debug/pprof", handle(pprof.Index)),
		router.Get("/debug/pprof/profile", handle(pprof.Profile)),
		router.Get("/debug/pprof/trace", handle(pprof.Trace)),
		router.Get("/debug/pprof/cmdline", handle(pprof.Cmdline)),
		router.Get("/debug/pprof/symbol", handle(pprof.Symbol)),
		router.Get("/debug/pprof/{name}", named),
	}
}

func handle(h http.HandlerFunc) router.Handler {
	return func(_ context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
		h(w, r)
		return nil
	}
}

// named answers with heap, goroutine or another profile of the runtime's.
func named(_ context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	name := vars["name"]
	if runtime.Lookup(name) == nil {
		return errdefs.ErrNotFound.WithMessage("no such profile: " + name)
	}
	pprof.Handler(name).ServeHTTP(w, r)
	return nil
}

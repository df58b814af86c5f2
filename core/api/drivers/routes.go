package drivers

import (
	"context"
	"net/http"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/router"
)

type routes struct{ backend Backend }

// Routes returns Strake's own routes.
func Routes(b Backend) []router.Route {
	s := &routes{backend: b}
	return []router.Route{
		router.Get("/strake/v1/drivers", s.list),
		router.Get("/strake/v1/drivers/{name}", s.inspect),
		router.Post("/strake/v1/drivers/{name}/restart", s.restart),
		router.Get("/strake/v1/traces/{id}", s.trace),
	}
}

func (s *routes) list(ctx context.Context, w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
	d, err := s.backend.Drivers(ctx)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, d)
}

func (s *routes) inspect(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	d, err := s.backend.Driver(ctx, vars["name"])
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, d)
}

func (s *routes) restart(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	d, err := s.backend.Restart(ctx, vars["name"])
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, d)
}

func (s *routes) trace(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	spans, err := s.backend.Trace(ctx, vars["id"])
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, spans)
}

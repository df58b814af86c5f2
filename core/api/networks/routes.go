package networks

import (
	"context"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/router"
)

type routes struct {
	backend   Backend
	connector Connector
}

// Routes returns the routes of networks.
func Routes(b Backend, c Connector) []router.Route {
	s := &routes{b, c}
	return []router.Route{
		router.Get("/networks", s.list),
		router.Post("/networks/create", s.create),
		router.Post("/networks/prune", s.prune),
		router.Get("/networks/{id}", s.inspect),
		router.Delete("/networks/{id}", s.remove),
		router.Post("/networks/{id}/connect", s.connect),
		router.Post("/networks/{id}/disconnect", s.disconnect),
	}
}

func (s *routes) list(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	f, err := query.Of(r).Filters("dangling", "driver", "id", "label", "name", "scope", "type")
	if err != nil {
		return err
	}
	all, err := s.backend.List(ctx, f)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, all)
}

func (s *routes) create(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	var req network.CreateRequest
	if err := httpjson.Read(w, r, &req); err != nil {
		return err
	}
	answer, err := s.backend.Create(ctx, req)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusCreated, answer)
}

func (s *routes) inspect(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	q := query.Of(r)
	if scope := r.URL.Query().Get("scope"); scope != "" && scope != "local" {
		return fmt.Errorf("network %s not found in scope %s: %w", vars["id"], scope, errdefs.ErrNotFound)
	}
	n, err := s.backend.Inspect(ctx, vars["id"], q.Bool("verbose"))
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, n)
}

func (s *routes) remove(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	if err := s.backend.Remove(ctx, vars["id"]); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *routes) prune(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	f, err := query.Of(r).Filters("until", "label", "label!")
	if err != nil {
		return err
	}
	report, err := s.backend.Prune(ctx, f)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, report)
}

func (s *routes) connect(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	var req network.ConnectRequest
	if err := httpjson.Read(w, r, &req); err != nil {
		return err
	}
	if err := s.connector.Connect(ctx, vars["id"], req); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *routes) disconnect(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	var req network.DisconnectRequest
	if err := httpjson.Read(w, r, &req); err != nil {
		return err
	}
	if err := s.connector.Disconnect(ctx, vars["id"], req); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

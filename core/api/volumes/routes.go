package volumes

import (
	"context"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/router"
	"github.com/strakehq/strake/core/api/version"
	"github.com/strakehq/strake/core/filter"
)

type routes struct{ backend Backend }

// Routes returns the routes of volumes.
func Routes(b Backend) []router.Route {
	s := &routes{b}
	return []router.Route{
		router.Get("/volumes", s.list),
		router.Post("/volumes/create", s.create),
		router.Post("/volumes/prune", s.prune),
		router.Get("/volumes/{name...}", s.inspect),
		router.Put("/volumes/{name...}", s.update),
		router.Delete("/volumes/{name...}", s.remove),
	}
}

func (s *routes) list(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	f, err := query.Of(r).Filters("dangling", "driver", "label", "name")
	if err != nil {
		return err
	}
	answer, err := s.backend.List(ctx, f)
	if err != nil {
		return err
	}
	if answer.Volumes == nil {
		answer.Volumes = []volume.Volume{}
	}
	return httpjson.Write(w, http.StatusOK, answer)
}

func (s *routes) create(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	var req volume.CreateRequest
	if err := httpjson.Read(w, r, &req); err != nil {
		return err
	}
	if req.ClusterVolumeSpec != nil {
		return errdefs.ErrUnavailable.WithMessage("cluster volumes need a swarm, and this node is not part of one: create a local volume")
	}
	v, err := s.backend.Create(ctx, req)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusCreated, v)
}

func (s *routes) inspect(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	v, err := s.backend.Inspect(ctx, vars["name"])
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, v)
}

func (s *routes) update(context.Context, http.ResponseWriter, *http.Request, map[string]string) error {
	return errdefs.ErrUnavailable.WithMessage("volume update only valid for cluster volumes, but swarm is unavailable")
}

func (s *routes) remove(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if err := s.backend.Remove(ctx, vars["name"], query.Of(r).Bool("force")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *routes) prune(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	f, err := query.Of(r).Filters("all", "label", "label!")
	if err != nil {
		return err
	}
	if version.From(ctx).Before(1, 42) && !f.Has("all") {
		// Anonymous volumes alone were pruned from 1.42 on.
		if f == nil {
			f = filter.Args{}
		}
		f["all"] = []string{"true"}
	}
	report, err := s.backend.Prune(ctx, f)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, report)
}

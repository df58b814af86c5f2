package images

import (
	"context"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/router"
)

type routes struct{ backend Backend }

// Routes returns the routes of images.
func Routes(b Backend) []router.Route {
	s := &routes{b}
	return []router.Route{
		router.Get("/images/json", s.list),
		router.Get("/images/get", s.save),
		router.Post("/images/load", s.load),
		router.Post("/images/create", s.pull),
		router.Post("/images/prune", s.prune),
		router.Get("/images/{name...}/get", s.save),
		router.Get("/images/{name...}/history", s.history),
		router.Get("/images/{name...}/json", s.inspect),
		router.Post("/images/{name...}/push", s.push),
		router.Post("/images/{name...}/tag", s.tag),
		router.Delete("/images/{name...}", s.remove),
	}
}

func (s *routes) history(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	h, err := s.backend.History(ctx, vars["name"])
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, h)
}

func (s *routes) tag(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	q := query.Of(r)
	if q.Get("repo") == "" {
		return errdefs.ErrInvalidArgument.WithMessage("tag: no repository name: give one as repo")
	}
	if err := s.backend.Tag(ctx, vars["name"], q.Get("repo"), q.Get("tag")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (s *routes) remove(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if strings.TrimSpace(vars["name"]) == "" {
		return errdefs.ErrInvalidArgument.WithMessage("image name cannot be blank")
	}
	q := query.Of(r)
	if q.Get("platforms") != "" {
		return errdefs.ErrNotImplemented.WithMessage("platforms: Strake removes an image as a whole: leave the platforms out")
	}
	list, err := s.backend.Remove(ctx, vars["name"], RemoveOptions{Force: q.Bool("force"), NoPrune: q.Bool("noprune")})
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, list)
}

func (s *routes) prune(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	f, err := query.Of(r).Filters("dangling", "label", "label!", "until")
	if err != nil {
		return err
	}
	report, err := s.backend.Prune(ctx, f)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, report)
}

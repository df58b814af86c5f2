package containers

import (
	"context"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/version"
)

// noContent answers a request that has nothing to say but that it was done.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *routes) start(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	// A JSON value that is not null has seven bytes at least; old clients
	// sent a HostConfig here.
	if r.ContentLength > 7 || r.ContentLength == -1 {
		return errdefs.ErrInvalidArgument.WithMessage("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
	}
	if q := query.Of(r); q.Get("checkpoint") != "" || q.Get("checkpoint-dir") != "" {
		return errdefs.ErrNotImplemented.WithMessage("checkpoint: Strake cannot start a container from a checkpoint: start it without")
	}
	return noContent(w, s.backend.Start(ctx, vars["name"]))
}

func (s *routes) stop(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	o, err := stopOptions(ctx, r)
	if err != nil {
		return err
	}
	return noContent(w, s.backend.Stop(ctx, vars["name"], o))
}

func (s *routes) restart(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	o, err := stopOptions(ctx, r)
	if err != nil {
		return err
	}
	return noContent(w, s.backend.Restart(ctx, vars["name"], o))
}

func stopOptions(ctx context.Context, r *http.Request) (o StopOptions, err error) {
	q := query.Of(r)
	if !version.From(ctx).Before(1, 42) {
		o.Signal = q.Get("signal")
	}
	o.Timeout, err = q.Int("t")
	return o, err
}

func (s *routes) kill(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	return noContent(w, s.backend.Kill(ctx, vars["name"], query.Of(r).Get("signal")))
}

func (s *routes) pause(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	return noContent(w, s.backend.Pause(ctx, vars["name"]))
}

func (s *routes) unpause(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	return noContent(w, s.backend.Unpause(ctx, vars["name"]))
}

func (s *routes) rename(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	return noContent(w, s.backend.Rename(ctx, vars["name"], query.Of(r).Get("name")))
}

func (s *routes) remove(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	q := query.Of(r)
	if q.Bool("link") {
		return errdefs.ErrNotImplemented.WithMessage("link: Strake has no links between containers: use a network")
	}
	return noContent(w, s.backend.Remove(ctx, vars["name"], RemoveOptions{Force: q.Bool("force"), Volumes: q.Bool("v")}))
}

func (s *routes) update(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	var u container.UpdateConfig
	if err := httpjson.Read(w, r, &u); err != nil {
		return err
	}
	if version.From(ctx).Before(1, 40) {
		u.PidsLimit = nil
	}
	if u.PidsLimit != nil && *u.PidsLimit < 0 {
		*u.PidsLimit = 0 // both are "unlimited"
	}
	answer, err := s.backend.Update(ctx, vars["name"], u)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, answer)
}

func (s *routes) prune(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	f, err := query.Of(r).Filters("label", "label!", "until")
	if err != nil {
		return err
	}
	report, err := s.backend.Prune(ctx, f)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, report)
}

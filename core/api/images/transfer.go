package images

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/api/auth"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/stream"
	"github.com/strakehq/strake/core/api/version"
)

func (s *routes) pull(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	q := query.Of(r)
	o := PullOptions{Image: strings.TrimSuffix(q.Get("fromImage"), ":"), Tag: q.Get("tag")}
	if o.Image == "" {
		if q.Get("fromSrc") != "" {
			return errdefs.ErrNotImplemented.WithMessage("fromSrc: Strake does not import file systems as images: build an image archive and load that")
		}
		return errdefs.ErrInvalidArgument.WithMessage("no image to pull: give one as fromImage")
	}
	var err error
	if o.All, err = wholeRepository(o.Image, o.Tag); err != nil {
		return err
	}
	if p := q.Get("platform"); p != "" && !version.From(ctx).Before(1, 32) {
		if _, err := platforms.Parse(p); err != nil {
			return fmt.Errorf("platform: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		o.Platform = p
	}
	if o.Auth, err = auth.Decode(r.Header.Get(registry.AuthHeader)); err != nil {
		return err
	}
	progress := stream.NewProgress(w)
	return progress.Finish(s.backend.Pull(ctx, o, progress.Send))
}

func (s *routes) push(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	q := query.Of(r)
	if q.Get("platform") != "" && !version.From(ctx).Before(1, 46) {
		return errdefs.ErrNotImplemented.WithMessage("platform: Strake pushes an image with all the platforms that it has: leave the platform out")
	}
	o := PushOptions{Image: vars["name"], Tag: q.Get("tag")}
	var err error
	if o.All, err = wholeRepository(o.Image, o.Tag); err != nil {
		return err
	}
	if o.Auth, err = auth.Decode(r.Header.Get(registry.AuthHeader)); err != nil {
		return err
	}
	progress := stream.NewProgress(w)
	return progress.Finish(s.backend.Push(ctx, o, progress.Send))
}

func (s *routes) load(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	q := query.Of(r)
	only, err := loadPlatforms(q.Values["platform"])
	if err != nil {
		return err
	}
	progress := stream.NewProgress(w)
	send := progress.Send
	if q.BoolOr("quiet", true) {
		send = func(m jsonstream.Message) {
			if m.Progress == nil {
				progress.Send(m)
			}
		}
	}
	return progress.Finish(s.backend.Load(ctx, r.Body, only, send))
}

// loadPlatforms reads platforms in JSON, as clients send them from API 1.48 on.
func loadPlatforms(values []string) ([]string, error) {
	var list []string
	for _, v := range values {
		var p ocispec.Platform
		if err := json.Unmarshal([]byte(v), &p); err != nil || p.OS == "" || p.Architecture == "" {
			return nil, fmt.Errorf(`platform %q: want a JSON object with "os" and "architecture": %w`, v, errdefs.ErrInvalidArgument)
		}
		list = append(list, platforms.Format(p))
	}
	return list, nil
}

func (s *routes) save(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	q := query.Of(r)
	if q.Get("platform") != "" {
		return errdefs.ErrNotImplemented.WithMessage("platform: Strake saves an image with all the platforms that it has: leave the platform out")
	}
	refs := q.Values["names"]
	if name := vars["name"]; name != "" {
		refs = []string{name}
	}
	if len(refs) == 0 {
		return errdefs.ErrInvalidArgument.WithMessage("no image to save: give one or more as names")
	}
	out := &archive{w: w}
	if err := s.backend.Save(ctx, refs, out); err != nil {
		if !out.begun {
			return err
		}
		// The archive is cut short: make sure that the client notices.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// archive is a response body that announces itself with its first byte.
type archive struct {
	w     http.ResponseWriter
	begun bool
}

// Write implements io.Writer.
func (a *archive) Write(p []byte) (int, error) {
	if !a.begun {
		a.begun = true
		a.w.Header().Set("Content-Type", "application/x-tar")
		a.w.WriteHeader(http.StatusOK)
	}
	return a.w.Write(p)
}

// wholeRepository says whether name and tag stand for all tags of a repository:
// "pull -a" and "push -a" send the name alone.
func wholeRepository(name, tag string) (bool, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false, fmt.Errorf("%q: %w: %w", name, err, errdefs.ErrInvalidArgument)
	}
	return tag == "" && reference.IsNameOnly(ref), nil
}

package images

import (
	"context"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/version"
)

func (s *routes) list(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	q, v := query.Of(r), version.From(ctx)
	f, err := q.Filters("before", "dangling", "label", "reference", "since", "until")
	if err != nil {
		return err
	}
	list, err := s.backend.List(ctx, ListOptions{
		All: q.Bool("all"), Filters: f,
		SharedSize: q.Bool("shared-size") && !v.Before(1, 42),
		Manifests:  q.Bool("manifests") && !v.Before(1, 47),
	})
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, listFor(v, list))
}

// legacySummary has the field that clients before API 1.44 show as the size.
type legacySummary struct {
	image.Summary
	VirtualSize int64
}

// listFor gives an answer the form of a version.
func listFor(v version.Version, list []image.Summary) any {
	old := make([]legacySummary, 0, len(list))
	for i := range list {
		complete(v, &list[i])
		old = append(old, legacySummary{list[i], list[i].Size})
	}
	switch {
	case v.Before(1, 44):
		return old
	case list == nil:
		return []image.Summary{}
	}
	return list
}

func complete(v version.Version, s *image.Summary) {
	if v.Before(1, 43) && len(s.RepoTags) == 0 && len(s.RepoDigests) == 0 {
		s.RepoTags, s.RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
	}
	if s.RepoTags == nil {
		s.RepoTags = []string{}
	}
	if s.RepoDigests == nil {
		s.RepoDigests = []string{}
	}
	if v.Before(1, 48) {
		s.Descriptor = nil
	}
	if v.Before(1, 51) {
		s.Containers = -1 // not calculated
	}
}

// legacyInspect has the fields that clients before API 1.52 may count on.
type legacyInspect struct {
	image.InspectResponse
	Parent, Comment, DockerVersion, Author string
	VirtualSize                            int64 `json:",omitempty"`
}

func (s *routes) inspect(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if q := query.Of(r); q.Get("platform") != "" && !version.From(ctx).Before(1, 49) {
		return errdefs.ErrNotImplemented.WithMessage("platform: Strake keeps one platform of an image: leave the platform out")
	}
	i, err := s.backend.Inspect(ctx, vars["name"])
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, inspectFor(version.From(ctx), i))
}

func inspectFor(v version.Version, i image.InspectResponse) any {
	if i.RepoTags == nil {
		i.RepoTags = []string{}
	}
	if i.RepoDigests == nil {
		i.RepoDigests = []string{}
	}
	if v.Before(1, 48) {
		i.Descriptor = nil
	}
	if !v.Before(1, 52) {
		return i
	}
	old := legacyInspect{InspectResponse: i, Comment: i.Comment, Author: i.Author}
	if v.Before(1, 44) {
		old.VirtualSize = i.Size
	}
	return old
}

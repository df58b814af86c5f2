package containers

import (
	"context"
	"net/http"

	"github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/version"
)

// listFilters are the filters of list.
func listFilters() []string {
	return []string{
		"ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task", "isolation",
		"label", "name", "network", "publish", "since", "status", "volume",
	}
}

func (s *routes) list(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	q := query.Of(r)
	f, err := q.Filters(listFilters()...)
	if err != nil {
		return err
	}
	limit, err := q.Int("limit")
	if err != nil {
		return err
	}
	o := ListOptions{All: q.Bool("all"), Size: q.Bool("size"), Filters: f}
	if limit != nil && *limit > 0 {
		o.Limit = *limit
	}
	// Monitors ask often, and many at once.
	v := version.From(ctx)
	body, err := s.lists.Do(ctx, v.String()+" "+r.URL.RawQuery, func(ctx context.Context) ([]byte, error) {
		list, err := s.backend.List(ctx, o)
		if err != nil {
			return nil, err
		}
		return httpjson.Encode(forVersion(list, v))
	})
	if err != nil {
		return err
	}
	return httpjson.WriteEncoded(w, http.StatusOK, body)
}

// forVersion leaves out what a version of the API does not have.
func forVersion(list []container.Summary, v version.Version) []container.Summary {
	if list == nil {
		return []container.Summary{}
	}
	for i := range list {
		if v.Before(1, 46) {
			list[i].HostConfig.Annotations = nil
		}
		if v.Before(1, 48) {
			list[i].ImageManifestDescriptor = nil
		}
		if v.Before(1, 52) {
			list[i].Health = nil
		}
	}
	return list
}

func (s *routes) inspect(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	c, err := s.backend.Inspect(ctx, vars["name"], query.Of(r).Bool("size"))
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, inspectFor(version.From(ctx), c))
}

func (s *routes) top(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	answer, err := s.backend.Top(ctx, vars["name"], query.Of(r).Get("ps_args"))
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, answer)
}

package image

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/filter"
	"github.com/strakehq/strake/sdk/storage"
)

// List implements images.Backend.
func (s *Service) List(_ context.Context, o images.ListOptions) ([]image.Summary, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	match, err := s.index.filter(o.Filters)
	if err != nil {
		return nil, err
	}
	shared := s.index.layerUsers()
	out := []image.Summary{}
	for _, r := range s.index.images {
		tags, digests := split(s.index.namesOf(r.ID))
		ok, tags, digests, err := match(r, tags, digests)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		sum := image.Summary{
			ID: r.ID.String(), RepoTags: tags, RepoDigests: digests, Created: r.Created.Unix(), Size: r.size(),
			SharedSize: -1, Containers: -1, Labels: r.Labels,
		}
		if r.Created.IsZero() {
			sum.Created = 0
		}
		if o.SharedSize {
			sum.SharedSize = r.sharedSize(shared)
		}
		if sum.Labels == nil {
			sum.Labels = map[string]string{}
		}
		out = append(out, sum)
	}
	slices.SortFunc(out, func(a, b image.Summary) int {
		if a.Created != b.Created {
			return int(b.Created - a.Created)
		}
		return slices.Compare(a.RepoTags, b.RepoTags)
	})
	return out, nil
}

// layerUsers counts the images over each snapshot.
func (x index) layerUsers() map[storage.SnapshotKey]int {
	users := map[storage.SnapshotKey]int{}
	for _, r := range x.images {
		for _, c := range r.chains() {
			users[c]++
		}
	}
	return users
}

func (r record) sharedSize(users map[storage.SnapshotKey]int) (n int64) {
	for i, c := range r.chains() {
		if users[c] > 1 {
			n += r.Layers[i].Size
		}
	}
	return n
}

// matchFunc says whether an image is wanted, and which of its names.
type matchFunc func(r record, tags, digests []string) (ok bool, t, d []string, err error)

// filter reads the filters of docker images.
func (x index) filter(f filter.Args) (matchFunc, error) {
	before, err := x.createdOf(f, "before")
	if err != nil {
		return nil, err
	}
	since, err := x.createdOf(f, "since")
	if err != nil {
		return nil, err
	}
	until, err := untilOf(f)
	if err != nil {
		return nil, err
	}
	dangling, err := boolOf(f, "dangling")
	if err != nil {
		return nil, err
	}
	return func(r record, tags, digests []string) (bool, []string, []string, error) {
		if f.Has("reference") {
			var err error
			if tags, err = matching(f.Get("reference"), tags); err != nil {
				return false, nil, nil, err
			}
			if digests, err = matching(f.Get("reference"), digests); err != nil {
				return false, nil, nil, err
			}
			if len(tags)+len(digests) == 0 {
				return false, nil, nil, nil
			}
		}
		ok := f.Labels(r.Labels) &&
			(before.IsZero() || r.Created.Before(before)) && (since.IsZero() || r.Created.After(since)) &&
			(until.IsZero() || r.Created.Before(until)) &&
			(dangling == nil || *dangling == (len(tags) == 0))
		return ok, tags, digests, nil
	}, nil
}

// createdOf is when the image that a filter names was created.
func (x index) createdOf(f filter.Args, name string) (time.Time, error) {
	var t time.Time
	for _, ref := range f.Get(name) {
		r, err := x.find(ref)
		if err != nil {
			return t, err
		}
		t = r.Created
	}
	return t, nil
}

func matching(patterns, names []string) ([]string, error) {
	out := []string{}
	for _, n := range names {
		ref, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			return nil, err
		}
		for _, p := range patterns {
			ok, err := reference.FamiliarMatch(p, ref)
			if err != nil {
				return nil, fmt.Errorf("filter reference=%q: %w: %w", p, err, errdefs.ErrInvalidArgument)
			}
			if !ok { // "nginx" matches all of its tags
				ok, err = path.Match(p, reference.FamiliarName(ref))
			}
			if err != nil {
				return nil, fmt.Errorf("filter reference=%q: %w: %w", p, err, errdefs.ErrInvalidArgument)
			}
			if ok {
				out = append(out, n)
				break
			}
		}
	}
	return out, nil
}

// untilOf reads a time or a duration before now.
func untilOf(f filter.Args) (time.Time, error) {
	var t time.Time
	for _, v := range f.Get("until") {
		if d, err := time.ParseDuration(v); err == nil {
			t = time.Now().Add(-d)
			continue
		}
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			t = time.Unix(0, int64(n*float64(time.Second)))
			continue
		}
		var err error
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
			if t, err = time.Parse(layout, v); err == nil {
				break
			}
		}
		if err != nil {
			return t, fmt.Errorf("filter until=%q: neither a time nor a duration: %w", v, errdefs.ErrInvalidArgument)
		}
	}
	return t, nil
}

func boolOf(f filter.Args, name string) (*bool, error) {
	for _, v := range f.Get(name) {
		switch v {
		case "1", "true":
			return new(true), nil
		case "0", "false":
			return new(false), nil
		default:
			return nil, fmt.Errorf("filter %s=%q: want true or false: %w", name, v, errdefs.ErrInvalidArgument)
		}
	}
	return nil, nil
}

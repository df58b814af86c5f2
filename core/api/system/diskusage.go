package system

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/version"
)

// usage is disk usage in the form of a version: from 1.52 on in sections, for
// older clients, and those that do not say that they know better, in lists.
type usage struct {
	*system.DiskUsage
	*legacyUsage
}

type legacyUsage struct {
	LayersSize int64
	Images     []legacyImage       `json:",omitempty"`
	Containers []container.Summary `json:",omitempty"`
	Volumes    []volume.Volume     `json:",omitempty"`
	BuildCache []build.CacheRecord `json:",omitempty"`
}

type legacyImage struct {
	image.Summary
	VirtualSize int64 `json:",omitempty"`
}

func (s *routes) diskUsage(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	q, v := query.Of(r), version.From(ctx)
	wanted := q.Values["type"]
	if v.Before(1, 42) {
		wanted = nil
	}
	for _, t := range wanted {
		switch system.DiskUsageObject(t) {
		case system.ContainerObject, system.ImageObject, system.VolumeObject, system.BuildCacheObject:
		default:
			return fmt.Errorf("unknown object type: %s: must be container, image, volume or build-cache: %w", t, errdefs.ErrInvalidArgument)
		}
	}
	du, err := s.backend.DiskUsage(ctx)
	if err != nil {
		return err
	}
	only(&du, wanted)
	answer := usage{DiskUsage: &du}
	verbose := q.Bool("verbose")
	if v.Before(1, 52) || !verbose {
		answer.legacyUsage = legacy(v, du)
	}
	switch {
	case v.Before(1, 52):
		answer.DiskUsage = nil
	case !verbose:
		answer.DiskUsage = sums(du)
	}
	return httpjson.Write(w, http.StatusOK, answer)
}

// only drops the sections that were not asked for.
func only(du *system.DiskUsage, wanted []string) {
	asked := func(o system.DiskUsageObject) bool {
		return len(wanted) == 0 || slices.Contains(wanted, string(o))
	}
	if !asked(system.ContainerObject) {
		du.ContainerUsage = nil
	}
	if !asked(system.ImageObject) {
		du.ImageUsage = nil
	}
	if !asked(system.VolumeObject) {
		du.VolumeUsage = nil
	}
	if !asked(system.BuildCacheObject) {
		du.BuildCacheUsage = nil
	}
}

// sums returns the sections without their items.
func sums(du system.DiskUsage) *system.DiskUsage {
	if u := du.ImageUsage; u != nil {
		c := *u
		c.Items, du.ImageUsage = nil, &c
	}
	if u := du.ContainerUsage; u != nil {
		c := *u
		c.Items, du.ContainerUsage = nil, &c
	}
	if u := du.VolumeUsage; u != nil {
		c := *u
		c.Items, du.VolumeUsage = nil, &c
	}
	if u := du.BuildCacheUsage; u != nil {
		c := *u
		c.Items, du.BuildCacheUsage = nil, &c
	}
	return &du
}

func legacy(v version.Version, du system.DiskUsage) *legacyUsage {
	old := &legacyUsage{}
	if u := du.ImageUsage; u != nil {
		old.LayersSize = u.TotalSize
		for _, i := range u.Items {
			l := legacyImage{Summary: i}
			if v.Before(1, 44) {
				l.VirtualSize = i.Size
			}
			old.Images = append(old.Images, l)
		}
	}
	if u := du.ContainerUsage; u != nil {
		old.Containers = u.Items
	}
	if u := du.VolumeUsage; u != nil {
		old.Volumes = u.Items
	}
	if u := du.BuildCacheUsage; u != nil {
		old.BuildCache = u.Items
	}
	return old
}

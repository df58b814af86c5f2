package system

import (
	"context"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/sdk/storage"
)

// DiskUsage answers GET /system/df.
func (s *System) DiskUsage(ctx context.Context) (system.DiskUsage, error) {
	ctrs, err := s.Containers.List(ctx, containers.ListOptions{All: true, Size: true})
	if err != nil {
		return system.DiskUsage{}, err
	}
	imgs, err := s.imageUsage(ctx, ctrs)
	if err != nil {
		return system.DiskUsage{}, err
	}
	vols, err := s.Volumes.Usage(ctx)
	if err != nil {
		return system.DiskUsage{}, err
	}
	return system.DiskUsage{
		ImageUsage: imgs, ContainerUsage: containerUsage(ctrs), VolumeUsage: volumeUsage(vols),
		BuildCacheUsage: &build.DiskUsage{},
	}, nil
}

// imageUsage counts every layer once, whatever the number of images over it.
func (s *System) imageUsage(ctx context.Context, ctrs []container.Summary) (*image.DiskUsage, error) {
	list, err := s.Images.List(ctx, images.ListOptions{All: true, SharedSize: true})
	if err != nil {
		return nil, err
	}
	u := &image.DiskUsage{Items: list, TotalCount: int64(len(list))}
	if u.TotalSize, err = s.layers(ctx); err != nil {
		return nil, err
	}
	users := map[string]int64{}
	for _, c := range ctrs {
		users[c.ImageID]++
	}
	for n := range list {
		i := &list[n]
		if i.Containers = users[i.ID]; i.Containers > 0 {
			u.ActiveCount++
		} else if i.SharedSize >= 0 {
			u.Reclaimable += i.Size - i.SharedSize
		}
	}
	u.Reclaimable = min(u.Reclaimable, u.TotalSize)
	return u, nil
}

func (s *System) layers(ctx context.Context) (total int64, err error) {
	d := s.Drivers.Storage()
	all, err := d.List(ctx)
	if err != nil {
		return 0, err
	}
	for _, sn := range all {
		if sn.Kind != storage.Committed {
			continue
		}
		u, err := d.Usage(ctx, sn.Key)
		if err != nil {
			return 0, err
		}
		total += u.Bytes
	}
	return total, nil
}

func containerUsage(ctrs []container.Summary) *container.DiskUsage {
	u := &container.DiskUsage{Items: ctrs, TotalCount: int64(len(ctrs))}
	for _, c := range ctrs {
		u.TotalSize += c.SizeRw
		switch c.State {
		case container.StateRunning, container.StatePaused, container.StateRestarting:
			u.ActiveCount++
		default:
			u.Reclaimable += c.SizeRw
		}
	}
	return u
}

func volumeUsage(vols []volume.Volume) *volume.DiskUsage {
	u := &volume.DiskUsage{Items: vols, TotalCount: int64(len(vols))}
	for _, v := range vols {
		if v.UsageData == nil {
			continue
		}
		u.TotalSize += v.UsageData.Size
		if v.UsageData.RefCount > 0 {
			u.ActiveCount++
		} else {
			u.Reclaimable += v.UsageData.Size
		}
	}
	return u
}

// Package volumes serves the volume routes of the Docker Engine API.
package volumes

import (
	"context"

	"github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/filter"
)

// Backend is what the routes call.
type Backend interface {
	Create(ctx context.Context, r volume.CreateRequest) (volume.Volume, error)
	List(ctx context.Context, f filter.Args) (volume.ListResponse, error)
	Inspect(ctx context.Context, name string) (volume.Volume, error)
	Remove(ctx context.Context, name string, force bool) error
	Prune(ctx context.Context, f filter.Args) (volume.PruneReport, error)
}

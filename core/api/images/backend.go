// Package images serves the image routes of the Docker Engine API.
package images

import (
	"context"
	"io"

	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"

	"github.com/strakehq/strake/core/filter"
)

// Progress receives progress messages of a pull, push or load. It must not
// block for long and may be called concurrently.
type Progress func(jsonstream.Message)

// Backend is what the routes call. ref is an image id, a unique prefix of one,
// or a reference, which is normalized as Docker's.
type Backend interface {
	// Pull fetches an image. Errors before the first progress message become
	// the response's status, later ones its last message.
	Pull(ctx context.Context, o PullOptions, p Progress) error
	Push(ctx context.Context, o PushOptions, p Progress) error
	// Load reads images from a docker-archive or OCI-layout tar, plain or
	// compressed.
	Load(ctx context.Context, tar io.Reader, platforms []string, p Progress) error
	// Save writes images as a tar that Load and docker load understand.
	Save(ctx context.Context, refs []string, w io.Writer) error
	List(ctx context.Context, o ListOptions) ([]image.Summary, error)
	Inspect(ctx context.Context, ref string) (image.InspectResponse, error)
	History(ctx context.Context, ref string) ([]image.HistoryResponseItem, error)
	Tag(ctx context.Context, ref, repo, tag string) error
	Remove(ctx context.Context, ref string, o RemoveOptions) ([]image.DeleteResponse, error)
	Prune(ctx context.Context, f filter.Args) (image.PruneReport, error)
}

// PullOptions say what to pull.
type PullOptions struct {
	// Image is the repository, with or without tag or digest; Tag is a tag or
	// digest beside it, or empty.
	Image, Tag string
	// Platform is os/arch[/variant]; empty: the host's.
	Platform string
	// All pulls every tag.
	All  bool
	Auth registry.AuthConfig
}

// PushOptions say what to push.
type PushOptions struct {
	Image, Tag string
	All        bool
	Auth       registry.AuthConfig
}

// ListOptions qualify List.
type ListOptions struct {
	All        bool
	SharedSize bool
	Manifests  bool
	Filters    filter.Args
}

// RemoveOptions qualify Remove.
type RemoveOptions struct {
	Force   bool
	NoPrune bool
}

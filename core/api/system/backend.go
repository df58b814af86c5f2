// Package system serves ping, version, info, auth and events of the Docker
// Engine API.
package system

import (
	"context"
	"iter"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"

	"github.com/strakehq/strake/core/filter"
)

// Backend is what the routes call.
type Backend interface {
	Version(ctx context.Context) (system.VersionResponse, error)
	Info(ctx context.Context) (system.Info, error)
	Auth(ctx context.Context, a registry.AuthConfig) (registry.AuthResponse, error)
	DiskUsage(ctx context.Context) (system.DiskUsage, error)
}

// Events delivers the daemon's events.
type Events interface {
	// Subscribe yields past events from since on (zero: none), then present
	// ones until ctx ends or until (zero: never) has passed. It is in place
	// when it returns, so no later event is missed.
	Subscribe(ctx context.Context, since, until time.Time, f filter.Args) (iter.Seq2[events.Message, error], error)
}

// Package networks serves the network routes of the Docker Engine API.
package networks

import (
	"context"

	"github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/filter"
)

// Backend is what the routes call. ref is a network's id, a unique prefix of
// one, or its name.
type Backend interface {
	Create(ctx context.Context, r network.CreateRequest) (network.CreateResponse, error)
	List(ctx context.Context, f filter.Args) ([]network.Summary, error)
	Inspect(ctx context.Context, ref string, verbose bool) (network.Inspect, error)
	Remove(ctx context.Context, ref string) error
	Prune(ctx context.Context, f filter.Args) (network.PruneReport, error)
}

// Connector changes the networks of running containers.
type Connector interface {
	Connect(ctx context.Context, network string, r network.ConnectRequest) error
	Disconnect(ctx context.Context, network string, r network.DisconnectRequest) error
}

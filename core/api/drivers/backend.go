// Package drivers serves Strake's own routes below /strake/v1: drivers and
// traces.
package drivers

import (
	"context"
	"encoding/json"
	"time"

	"github.com/strakehq/strake/sdk/trace"
)

// Driver is the state of one driver as the daemon sees it.
type Driver struct {
	Kind         string
	Name         string
	Version      string
	Path         string
	Pid          int
	Status       string // "ready", "degraded", "failed", "starting", "hung"
	Reason       string // why not ready
	Default      bool   // serves its kind when nobody names another
	Capabilities []string
	Restarts     int
	Calls        map[string]int // made since the daemon started, by method
	StartedAt    time.Time
	LogPath      string
	Schema       json.RawMessage `json:",omitempty"`
	Options      json.RawMessage `json:",omitempty"`
}

// Backend is what the routes call.
type Backend interface {
	Drivers(ctx context.Context) ([]Driver, error)
	// Driver finds one by "name" or, where two kinds share it, "kind.name".
	Driver(ctx context.Context, name string) (Driver, error)
	// Restart replaces a driver's process by one of the binary that is
	// installed now, and returns when that is ready.
	Restart(ctx context.Context, name string) (Driver, error)
	// Trace returns the spans of a trace of the last minutes.
	Trace(ctx context.Context, traceID string) ([]trace.Span, error)
}

// Package containers serves the container and exec routes of the Docker Engine
// API.
package containers

import (
	"context"
	"io"
	"iter"

	"github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/filter"
	"github.com/strakehq/strake/core/logs"
)

// Backend is what the routes call. ref is a full id, a unique prefix of one, or
// a name, with or without the leading slash.
type Backend interface {
	Lifecycle
	Reader
	Streamer
	Execer
}

// Lifecycle changes containers.
type Lifecycle interface {
	Create(ctx context.Context, name, platform string, r container.CreateRequest) (container.CreateResponse, error)
	// Start fails with errdefs.ErrNotModified when the container runs.
	Start(ctx context.Context, ref string) error
	// Stop fails with errdefs.ErrNotModified when it does not run.
	Stop(ctx context.Context, ref string, o StopOptions) error
	Restart(ctx context.Context, ref string, o StopOptions) error
	// Kill sends a signal by name or number; empty is SIGKILL.
	Kill(ctx context.Context, ref, signal string) error
	Pause(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
	Remove(ctx context.Context, ref string, o RemoveOptions) error
	Rename(ctx context.Context, ref, newName string) error
	Update(ctx context.Context, ref string, u container.UpdateConfig) (container.UpdateResponse, error)
	Prune(ctx context.Context, f filter.Args) (container.PruneReport, error)
}

// StopOptions qualify Stop and Restart.
type StopOptions struct {
	// Signal is empty for the container's own stop signal.
	Signal string
	// Timeout in seconds before SIGKILL; nil for the container's own, -1 for
	// none.
	Timeout *int
}

// RemoveOptions qualify Remove.
type RemoveOptions struct {
	Force   bool
	Volumes bool // anonymous volumes too
}

// Reader answers questions.
type Reader interface {
	List(ctx context.Context, o ListOptions) ([]container.Summary, error)
	Inspect(ctx context.Context, ref string, size bool) (container.InspectResponse, error)
	Top(ctx context.Context, ref, psArgs string) (container.TopResponse, error)
	// Stats yields readings a second apart until ctx ends or the container
	// is removed; with once, one reading. A first reading has no PreCPUStats
	// with oneShot, else the backend takes two.
	Stats(ctx context.Context, ref string, once, oneShot bool) (iter.Seq2[container.StatsResponse, error], error)
	// Wait registers at once and returns a function that blocks for the
	// answer.
	Wait(ctx context.Context, ref string, c container.WaitCondition) (func() (container.WaitResponse, error), error)
}

// ListOptions qualify List.
type ListOptions struct {
	All     bool
	Size    bool
	Limit   int
	Filters filter.Args
}

// Streamer gives access to standard streams and logs.
type Streamer interface {
	// Attach returns the container's streams at once, also before its start.
	Attach(ctx context.Context, ref string, o AttachOptions) (Attached, error)
	Resize(ctx context.Context, ref string, height, width uint16) error
	// Logs yields log entries, oldest first.
	Logs(ctx context.Context, ref string, o logs.Options) (LogStream, error)
}

// AttachOptions qualify Attach.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	// Logs asks for what was logged before, Stream for what comes.
	Logs, Stream bool
	// DetachKeys in Docker's notation; empty for the daemon's default.
	DetachKeys string
}

// Attached is a connection to the streams of a container or an exec. Its bytes
// are those of the hijacked connection: raw for a terminal, else framed as in
// stdcopy.
type Attached struct {
	Conn Stream
	TTY  bool
	// DetachKeys are the bytes that end the connection, for terminals.
	DetachKeys []byte
}

// Stream is a connection of which each direction ends on its own.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// LogStream is the answer to Logs.
type LogStream struct {
	TTY     bool
	Entries iter.Seq2[logs.Entry, error]
}

// Execer runs additional processes.
type Execer interface {
	ExecCreate(ctx context.Context, ref string, r container.ExecCreateRequest) (id string, err error)
	// ExecStart starts the process; the result is nil when r.Detach.
	ExecStart(ctx context.Context, id string, r container.ExecStartRequest) (*Attached, error)
	ExecInspect(ctx context.Context, id string) (container.ExecInspectResponse, error)
	ExecResize(ctx context.Context, id string, height, width uint16) error
}

// Package runtime is the contract of runtime drivers: they run containers from
// OCI bundles and answer for their processes, their streams and their exit.
//
// # Life of a container
//
//	Create → created ─Start→ running ⇄ paused
//	                  └───────┴──────► stopped ─Delete→ gone
//
// What must outlive driver and daemon (the process, its log, its exit status)
// is in the care of a small process per container, which the driver finds
// again from its handle. The exit status is on disk before anybody is told.
//
// # Streams
//
// Standard streams never pass through gRPC. Attach and exec answer with the
// path of a unix socket. The client connects, and the bytes on the connection
// are those of a hijacked Docker attach: client to server is standard input
// as it is, ended by shutdown(SHUT_WR); server to client is raw for a
// terminal, else framed as in stdcopy (8-byte header: stream, three zero
// bytes, big-endian length). So the daemon can splice the two connections.
package runtime

import (
	"context"
	"encoding/json"
	"time"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
)

// ContainerID names a container: [a-zA-Z0-9_.-], 1 to 64 bytes.
type ContainerID string

// ExecID names an additional process within a container, same form. Empty
// stands for the container's first process.
type ExecID string

// CreateRequest asks for a container.
type CreateRequest struct {
	ID ContainerID
	// Bundle is a directory with an OCI config.json, owned by the caller.
	// root.path in it is where the root file system is to be mounted.
	Bundle string
	// Rootfs are mounted at root.path in a mount namespace of the driver's
	// own, whose root is a slave of the host's.
	Rootfs []mount.Mount
	IO     IO
	// Runtime is a choice between several OCI runtimes that the driver may
	// offer; empty is its default.
	Runtime string
}

// IO says how the standard streams are wired.
type IO struct {
	// Terminal gives the process a pty.
	Terminal bool
	// Stdin keeps standard input open; else it is /dev/null.
	Stdin bool
	// StdinOnce ends standard input when the first attached client ends it
	// or leaves.
	StdinOnce bool
	// Width and Height are the terminal's first size in cells; 0: unknown.
	Width, Height uint16
	// Log receives all output. Only for a container's first process.
	Log Log
}

// Log is a log file in Docker's json-file format: one JSON object a line with
// log, stream and time.
type Log struct {
	// Path of the current file; rotated ones get ".1", ".2" and so on.
	// Empty: no log.
	Path string
	// MaxSize in bytes of one file before it is rotated; 0: never.
	MaxSize int64
	// MaxFiles counts the current one; below 2, the log is truncated
	// instead of rotated.
	MaxFiles int
	// Attrs are written with each line as "attrs".
	Attrs map[string]string
}

// Status is a process's state in the words of the OCI runtime specification.
type Status string

// The statuses.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Paused   Status = "paused"
	Stopped  Status = "stopped"
)

// State is what a driver knows of a container's first process or of an exec.
type State struct {
	ID   ContainerID
	Exec ExecID
	// Status is Stopped exactly when Exit is set.
	Status Status
	// Pid in the host's pid namespace; 0 unless created, running or paused.
	Pid int
	// StartedAt is zero before Start.
	StartedAt time.Time
	Exit      *Exit
}

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code, 128+n after signal n.
	Code int
	// Known is false when nobody could learn the true status; Code is 255
	// then. It is never invented.
	Known bool
	At    time.Time
	// OOMKilled: the kernel's out-of-memory killer struck in the container's
	// cgroup.
	OOMKilled bool
}

// ExecRequest asks for an additional process.
type ExecRequest struct {
	ID   ContainerID
	Exec ExecID
	// Process is an OCI process object.
	Process json.RawMessage
	IO      IO
	// Attach asks for a stream socket that is ready before the process
	// starts, so that no output is lost. Its zero value means none.
	Attach StreamSet
}

// StreamSet says which standard streams a client wants.
type StreamSet struct {
	Stdin, Stdout, Stderr bool
}

// EventKind is the kind of an Event.
type EventKind string

// The kinds of event.
const (
	// ProcessExited: the first process or an exec ended; Event.Exit is set.
	ProcessExited EventKind = "exited"
	// OOM: the kernel killed a process of the container for memory.
	OOM EventKind = "oom"
)

// Event is news from a container.
type Event struct {
	Kind EventKind
	ID   ContainerID
	Exec ExecID
	At   time.Time
	Exit *Exit
}

// Stats is one reading of a container's counters. Counters are totals since
// its start. Zero where the kernel does not tell.
type Stats struct {
	At     time.Time
	CPU    CPUStats
	Memory MemoryStats
	Pids   PidsStats
	BlkIO  []BlkIOEntry
	Nets   []NetStats
}

// CPUStats are processor times in nanoseconds.
type CPUStats struct {
	Total, User, Kernel uint64
	PerCPU              []uint64
	Periods, Throttled  uint64
	ThrottledTime       uint64
	OnlineCPUs          uint32
	// System is the host's total processor time, all processors added.
	System uint64
}

// MemoryStats are in bytes.
type MemoryStats struct {
	Usage, MaxUsage, Limit uint64
	// Stats are the lines of memory.stat.
	Stats   map[string]uint64
	Failcnt uint64
}

// PidsStats count processes and threads.
type PidsStats struct{ Current, Limit uint64 }

// BlkIOEntry is one counter of one device. Op is read, write, sync, …
type BlkIOEntry struct {
	Major, Minor      uint64
	Op                string
	Bytes, Operations uint64
}

// NetStats are the counters of one interface inside the network namespace.
type NetStats struct {
	Name                                    string
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// Driver is the runtime contract.
//
// Unknown ids are ErrNotFound, except for Delete. A call that the present
// status forbids is ErrFailedPrecondition, and the message names the status.
type Driver interface {
	driver.Driver
	Lifecycle
	Execer
	Streamer
	Observer
}

// Lifecycle rules a container's first process.
type Lifecycle interface {
	// Create makes the container up to the point where its process waits to
	// be started. When it fails, nothing is left behind. A command that does
	// not exist is ErrNotFound, one that may not be executed
	// ErrPermissionDenied; both may also come from Start, as the OCI runtime
	// finds out.
	Create(ctx context.Context, r CreateRequest) (driver.Handle, State, error)
	// Start lets the process run.
	Start(ctx context.Context, id ContainerID) (State, error)
	// Recover takes back a container of a former process of the driver. The
	// state is true as of now; an exit in between is in it. ErrNotFound:
	// nothing is known of it, not even an exit status.
	Recover(ctx context.Context, id ContainerID, h driver.Handle) (State, error)
	// State returns the present state of the first process or an exec.
	State(ctx context.Context, id ContainerID, exec ExecID) (State, error)
	// Kill sends a signal to the first process, an exec, or with all to every
	// process of the container. A process that is gone is no error.
	Kill(ctx context.Context, id ContainerID, exec ExecID, signal int, all bool) error
	// Pause freezes all processes; Resume thaws them.
	Pause(ctx context.Context, id ContainerID) error
	Resume(ctx context.Context, id ContainerID) error
	// Update changes resource limits. The argument is an OCI linux.resources
	// object of which only the given members count.
	Update(ctx context.Context, id ContainerID, resources json.RawMessage) error
	// Delete removes what is left of a stopped container, and returns its
	// exit. With force it kills it first.
	Delete(ctx context.Context, id ContainerID, force bool) (*Exit, error)
	// Collect force-deletes containers that are not named, and any process,
	// mount or cgroup of the driver's that belongs to none.
	Collect(ctx context.Context, keep []ContainerID) error
}

// Execer runs additional processes.
type Execer interface {
	// Exec starts the process. The second result is the stream socket when
	// r.Attach asks for one. A command that does not exist is ErrNotFound,
	// one that may not be executed ErrPermissionDenied.
	Exec(ctx context.Context, r ExecRequest) (State, string, error)
	// DeleteExec forgets an exec that has ended. One that is gone is no error.
	DeleteExec(ctx context.Context, id ContainerID, exec ExecID) error
}

// Streamer gives access to standard streams.
type Streamer interface {
	// Attach returns the path of a unix socket, see the package comment. It
	// serves exactly one connection, for at most a minute until it is made.
	// From the answer on, all output is for the client; what a client does
	// not read is kept up to a bound, then the process waits. Attach works on
	// a created container already, so that nothing is lost before Start; what
	// is typed on a terminal until then waits for the process.
	Attach(ctx context.Context, id ContainerID, exec ExecID, want StreamSet) (socket string, err error)
	// Resize sets the terminal's size in cells.
	Resize(ctx context.Context, id ContainerID, exec ExecID, width, height uint16) error
	// CloseStdin ends standard input; that of a stopped process has ended.
	CloseStdin(ctx context.Context, id ContainerID, exec ExecID) error
}

// Observer tells what goes on inside.
type Observer interface {
	// Processes returns the pids of all processes, in the host's pid
	// namespace.
	Processes(ctx context.Context, id ContainerID) ([]int, error)
	// Stats takes one reading.
	Stats(ctx context.Context, id ContainerID) (Stats, error)
	// WatchEvents delivers events until ctx ends. At first it delivers the
	// exit of every container and exec that has ended and is not deleted, so
	// that a watcher that comes late misses none; events may be repeated.
	WatchEvents(ctx context.Context, deliver func(Event)) error
}

// Capabilities of runtime drivers.
const (
	// CapRuntimes: CreateRequest.Runtime is understood.
	CapRuntimes driver.Capability = "runtime.runtimes"
	// CapSeccompBPF: the driver takes a compiled seccomp filter.
	CapSeccompBPF driver.Capability = "runtime.seccomp-bpf"
	// CapUserNS: a bundle with a user namespace is run in it, mount.IDMap is
	// understood among the options of Rootfs, and the container's root owns its
	// standard streams.
	CapUserNS driver.Capability = "runtime.user-namespaces"
)

// Package wire is what a shim and its driver say to each other: a directory
// with a config file, and JSON messages on a unix socket.
//
// It imports nothing beyond the standard library, golang.org/x/sys and
// sdk/mount, and in particular not net, since one shim runs per container and
// every page counts.
//
// # Messages
//
// A message is a 4-byte big-endian length and that many bytes of JSON. The
// driver sends a Request, the shim answers with a Reply of the same Seq; several
// may be under way at once and answers come as they are ready. A Reply with Seq
// 0 is an event. A shim serves any number of connections; each is greeted with
// Hello and told the exits so far as events.
//
// # Life
//
// The driver writes Config to ConfigFile in the container's directory, listens
// on Config.Control(), and starts "strake-shim create <dir>" with the listener as
// descriptor 3. The shim begins at once; OpReady waits for the outcome. When a
// shim has died, "strake-shim adopt <dir>" takes its place.
//
// A spare is a shim that was started before there is a container, as
// "strake-shim vacant <room>": room is a path as long as any container's, and
// descriptor 3 a socket pair (SOCK_SEQPACKET). It gets one message, the
// directory, with the listener and the opened LogFile as SCM_RIGHTS; makes its
// arguments those of "create <dir>"; answers with one byte, and begins. So
// whoever looks at processes' arguments takes no spare for a container's shim,
// and misses no shim that has begun. A spare ends when its driver does.
package wire

import (
	"encoding/json"
	"time"

	"github.com/strakehq/strake/sdk/mount"
)

// Version is the version of Config and of the messages.
const Version = 1

// The shim's first argument. Create and Vacant are of one length.
const (
	Create = "create"
	Adopt  = "adopt"
	Vacant = "vacant"
)

// MaxName is how long the name of a container's directory may be.
const MaxName = 64

// Names of files in the container's directory.
const (
	// ConfigFile holds Config; the driver writes it before it starts a shim.
	ConfigFile = "config.json"
	// StateFile holds State of the first process as of its last change.
	StateFile = "state.json"
	// ExitFile holds Exit, from the moment the first process's end is known.
	ExitFile = "exit.json"
	// ExecDir holds one such directory per exec.
	ExecDir = "exec"
	// LogFile receives what the shim itself has to say.
	LogFile = "shim.log"
	// Stdin, Stdout and Stderr are FIFOs.
	Stdin, Stdout, Stderr = "stdin", "stdout", "stderr"
)

// Config is all that a shim needs to know of its container.
type Config struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	// Socket is the prefix of the paths of all sockets, short enough for a
	// socket address with 12 bytes added.
	Socket string `json:"socket"`
	Bundle string `json:"bundle"`
	// Rootfs is the absolute path where Mounts go.
	Rootfs  string        `json:"rootfs"`
	Mounts  []mount.Mount `json:"mounts,omitempty"`
	IO      IO            `json:"io"`
	Runtime Runtime       `json:"runtime"`
	// Cgroup is the spec's cgroupsPath, for the driver's use.
	Cgroup string `json:"cgroup,omitempty"`
	// NetNS is the path of the spec's network namespace, where it is pinned.
	NetNS string `json:"netns,omitempty"`
	// Writable are the paths that the OCI runtime and the container are to
	// write to; all else of the host is read-only to them. Empty: nothing is.
	Writable []string `json:"writable,omitempty"`
	// Masked are the spec's maskedPaths.
	Masked []string `json:"masked,omitempty"`
}

// Control is the path of the control socket.
func (c Config) Control() string { return c.Socket + ".ctl" }

// Runtime says which OCI runtime to use and how.
type Runtime struct {
	// Binary is an absolute path.
	Binary string `json:"binary"`
	// Root is the directory of the runtime's state, for the driver's use.
	Root string `json:"root,omitempty"`
	// Args precede the command: --root and the like.
	Args []string `json:"args,omitempty"`
	// CreateArgs follow "create".
	CreateArgs []string `json:"createArgs,omitempty"`
	// Like names the runtime whose way of keeping state this one shares, when
	// there are no hooks for it to run later; so the shim may start and delete
	// the container by itself, which saves two processes. Empty: none known.
	Like Kind `json:"like,omitempty"`
}

// Kind is a way to keep a container's state.
type Kind string

// The kinds.
const (
	Runc Kind = "runc" // since 1.0
	Crun Kind = "crun" // since 0.9
)

// IO says how standard streams are wired; see sdk/runtime.
type IO struct {
	Terminal  bool   `json:"terminal,omitempty"`
	Stdin     bool   `json:"stdin,omitempty"`
	StdinOnce bool   `json:"stdinOnce,omitempty"`
	Width     uint16 `json:"width,omitempty"`
	Height    uint16 `json:"height,omitempty"`
	Log       Log    `json:"log,omitzero"`
	// UID and GID are the owner that the container's root has on the host: the
	// FIFOs must be its own, for processes open them anew by /dev/stdout.
	UID int `json:"uid,omitempty"`
	GID int `json:"gid,omitempty"`
}

// Log describes the log file; see sdk/runtime.
type Log struct {
	Path     string            `json:"path,omitempty"`
	MaxSize  int64             `json:"maxSize,omitempty"`
	MaxFiles int               `json:"maxFiles,omitempty"`
	Attrs    map[string]string `json:"attrs,omitempty"`
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

// State is a process's state.
type State struct {
	Status    Status    `json:"status"`
	Pid       int       `json:"pid,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	Exit      *Exit     `json:"exit,omitempty"`
	// Ticks is the process's start time in /proc/<pid>/stat, which with Pid
	// names a process for good.
	Ticks uint64 `json:"ticks,omitempty"`
	// TTY is the shim's descriptor of the pty master, when there is one.
	TTY int `json:"tty,omitempty"`
	// StdinOpen: the shim holds the write end of the FIFO Stdin.
	StdinOpen bool `json:"stdinOpen,omitempty"`
}

// Exit is how a process ended.
type Exit struct {
	Code      int       `json:"code"`
	Known     bool      `json:"known"`
	At        time.Time `json:"at"`
	OOMKilled bool      `json:"oomKilled,omitempty"`
}

// Op names a request.
type Op string

// The operations. All but OpReady need a container that was created.
const (
	// OpReady waits until the container is created or adopted. → State, Spans
	OpReady Op = "ready"
	// OpStart lets the process run; repeating it is harmless. → State, Spans
	OpStart Op = "start"
	// OpState asks for the state of Exec. → State
	OpState Op = "state"
	// OpKill sends Signal to Exec, or to all processes.
	OpKill Op = "kill"
	// OpPause and OpResume freeze and thaw.
	OpPause  Op = "pause"
	OpResume Op = "resume"
	// OpUpdate changes limits; Path names a file with OCI resources.
	OpUpdate Op = "update"
	// OpDelete removes a stopped container, with Force any. The shim ends
	// after its answer. → State
	OpDelete Op = "delete"
	// OpExec starts Process as Exec. → State, Socket if Streams, Spans
	OpExec Op = "exec"
	// OpDeleteExec forgets an exec that has ended.
	OpDeleteExec Op = "deleteExec"
	// OpAttach asks for a stream socket. → Socket
	OpAttach Op = "attach"
	// OpResize sets the terminal's size.
	OpResize Op = "resize"
	// OpCloseStdin ends standard input.
	OpCloseStdin Op = "closeStdin"
)

// Request is one call.
type Request struct {
	Seq     uint64          `json:"seq"`
	Op      Op              `json:"op"`
	Exec    string          `json:"exec,omitempty"`
	Signal  int             `json:"signal,omitempty"`
	All     bool            `json:"all,omitempty"`
	Force   bool            `json:"force,omitempty"`
	Path    string          `json:"path,omitempty"`
	Width   uint16          `json:"width,omitempty"`
	Height  uint16          `json:"height,omitempty"`
	Streams Streams         `json:"streams,omitzero"`
	IO      IO              `json:"io,omitzero"`
	Process json.RawMessage `json:"process,omitempty"`
}

// Streams says which streams a client wants.
type Streams struct {
	Stdin  bool `json:"stdin,omitempty"`
	Stdout bool `json:"stdout,omitempty"`
	Stderr bool `json:"stderr,omitempty"`
}

// Reply is an answer or, with Seq 0, an event.
type Reply struct {
	Seq    uint64 `json:"seq,omitempty"`
	Error  *Error `json:"error,omitempty"`
	State  *State `json:"state,omitempty"`
	Socket string `json:"socket,omitempty"`
	Spans  []Span `json:"spans,omitempty"`
	Event  *Event `json:"event,omitempty"`
}

// Class is the kind of an Error.
type Class string

// The classes of errors.
const (
	// NotFound: no such exec.
	NotFound Class = "notFound"
	// Precondition: not in the present status.
	Precondition Class = "precondition"
	// Exists: an exec of this name is there.
	Exists Class = "exists"
	// RuntimeFailed: the OCI runtime said no; Message is in its words.
	RuntimeFailed Class = "runtime"
	// Internal is anything else.
	Internal Class = "internal"
)

// Error is a failure as it crosses the socket.
type Error struct {
	Class   Class  `json:"class"`
	Message string `json:"message"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Span is a timed piece of the shim's work.
type Span struct {
	Name  string    `json:"name"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// EventKind is the kind of an Event.
type EventKind string

// The kinds of event.
const (
	// Hello is the first message on a connection; Pid is the shim's.
	Hello EventKind = "hello"
	// Exited: Exec, or the first process, ended. Its Exit is on disk.
	Exited EventKind = "exited"
	// OOM: the kernel killed a process of the container for memory.
	OOM EventKind = "oom"
	// StdinClosed: nobody will write to the FIFO Stdin again.
	StdinClosed EventKind = "stdinClosed"
)

// Event is news.
type Event struct {
	Kind EventKind `json:"kind"`
	Exec string    `json:"exec,omitempty"`
	At   time.Time `json:"at,omitzero"`
	Exit *Exit     `json:"exit,omitempty"`
	Pid  int       `json:"pid,omitempty"`
}

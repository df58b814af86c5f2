package spare

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/shim/cgroup"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Warm does for nothing, while there is time, what a shim does first of all and
// what is slow the first time: encoding/json learns the types, the program's
// pages come into memory, the heap grows.
func Warm() error {
	exit := &wire.Exit{At: time.Now()}
	state := &wire.State{Status: wire.Created, Pid: 1, StartedAt: exit.At, Exit: exit}
	errs := []error{
		twice(&wire.Config{
			ID: "-", Mounts: []mount.Mount{{Type: "bind", Options: []string{"ro"}}}, Runtime: wire.Runtime{Args: []string{"-"}},
			IO: wire.IO{Log: wire.Log{Path: "-", Attrs: map[string]string{"-": "-"}}},
		}),
		twice(&wire.Request{Op: wire.OpReady, Streams: wire.Streams{Stdin: true}, IO: wire.IO{Terminal: true}}),
		twice(state), twice(exit), twice(&cgroup.Group{All: []string{"-"}}),
		wire.Write(io.Discard, wire.Reply{
			State: state, Spans: []wire.Span{{Start: exit.At}}, Event: &wire.Event{Exit: exit}, Error: &wire.Error{},
		}),
	}
	mounts, err := cgroup.Mounted()
	if err == nil {
		_, err = mounts.Of(os.Getpid(), "-")
	}
	grow()
	return errors.Join(append(errs, err)...)
}

// twice encodes and decodes a value.
func twice(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// comingHeap is how much a shim's heap grows by until its container runs.
const comingHeap = 160 << 10

// grow has the kernel give the memory into which the heap will grow at once
// instead of page by page. It is after an object that needed new memory. Where
// that cannot be, it stays as it was.
func grow() {
	newest := make([]byte, 32<<10)
	end := uintptr(unsafe.Pointer(unsafe.SliceData(newest)))
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, end, comingHeap, unix.MADV_POPULATE_WRITE)
}

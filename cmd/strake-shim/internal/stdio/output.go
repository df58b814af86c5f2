package stdio

import (
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/jsonlog"
)

// Buffers grow with what is read and go when nothing came for a while.
const (
	relaxAfter = time.Second
	smallRead  = 4096
)

// output carries one stream from its source to log and clients.
type output struct {
	of     *Streams
	stream jsonlog.Stream
	src    source
	done   chan struct{}
	idle   *time.Timer // gives memory back
	ending atomic.Bool // the process is gone

	touched atomic.Bool // there is memory to give back
}

func newOutput(of *Streams, stream jsonlog.Stream, src source) *output {
	return &output{of: of, stream: stream, src: src, done: make(chan struct{})}
}

// run works until the stream's end.
func (o *output) run() {
	defer close(o.done)
	var busy pace
	for {
		began := time.Now()
		data, fresh, err := o.src.next()
		busy.note(time.Since(began), fresh)
		o.awake()
		if errors.Is(err, unix.ENOSPC) && !o.ending.Load() { // the spool's file system; the process waits meanwhile
			time.Sleep(100 * time.Millisecond)
			continue
		}
		end := err != nil
		taken := len(data)
		if o.of.log != nil {
			taken = o.of.log.Write(o.stream, data, end)
		}
		if fresh > 0 {
			o.of.hub.send(byte(o.stream)+1, data[len(data)-fresh:])
		}
		o.src.release(taken)
		if end {
			if !errors.Is(err, io.EOF) {
				note("read output: %v", err)
			}
			return
		}
		o.doze(fresh)
		busy.gather()
	}
}

// pace tells a stream of small pieces that come one after the other, such as the
// access log of a busy server. To take each by itself costs more than the
// process needs to write it: two changes of context and a write to the log.
type pace struct{ quick int }

const (
	// quickly is how long one waits for the next piece of a busy stream.
	quickly = 200 * time.Microsecond
	// settled is after how many such pieces it counts as busy.
	settled = 16
	// gatherFor is how late the pieces of a busy stream may be.
	gatherFor = time.Millisecond
)

func (p *pace) note(waited time.Duration, fresh int) {
	if waited > quickly || fresh == 0 || fresh > smallRead {
		p.quick = 0
		return
	}
	p.quick = min(p.quick+1, settled)
}

// gather waits for more pieces of a busy stream. The shim's only processor sleeps
// with it: else another thread would wait for the poller, which tells of each
// piece.
func (p *pace) gather() {
	if p.quick < settled {
		return
	}
	t := unix.NsecToTimespec(gatherFor.Nanoseconds())
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0) //nolint:errcheck // less does no harm
	runtime.Gosched()
}

// doze gives memory back unless there is more to read soon, once a large read
// has touched much of it.
func (o *output) doze(fresh int) {
	if fresh > smallRead {
		o.touched.Store(true)
	}
	if !o.touched.Load() {
		return
	}
	if o.idle != nil {
		o.idle.Reset(relaxAfter)
		return
	}
	o.idle = time.AfterFunc(relaxAfter, func() {
		o.touched.Store(false)
		o.src.relax()
		if o.of.log != nil {
			o.of.log.Relax()
		}
	})
}

func (o *output) awake() {
	if o.idle != nil {
		o.idle.Stop()
	}
}

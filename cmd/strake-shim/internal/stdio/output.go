package stdio

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

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

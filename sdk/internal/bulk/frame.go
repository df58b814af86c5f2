// Package bulk moves bulk bytes between host and driver beside gRPC, over a
// unix socket of one use, at memory speed.
//
// The host listens (Listen), passes the socket's path in a request, and the
// driver connects (Dial) while it serves the call. Bytes travel in frames, so
// that a stream cut off by a crash is never taken for one that ended:
//
//	4-byte big-endian length n, then n bytes   1 <= n <= MaxFrame
//	0                                          clean end
//	0xffffffff, then a frame with a message    the writer gave up
package bulk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/containerd/errdefs"
)

// MaxFrame bounds the bytes of one frame.
const MaxFrame = 1 << 20

// abortMark in the place of a length announces the writer's error message.
const abortMark = 0xffffffff

// maxMessage bounds an abort message.
const maxMessage = 64 << 10

// Pool lends out buffers of MaxFrame bytes to one side's transfers. Its zero
// value is ready for use.
type Pool struct{ p sync.Pool }

func (p *Pool) get() *[]byte {
	if b, ok := p.p.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, MaxFrame)
	return &b
}

func (p *Pool) put(b *[]byte) { p.p.Put(b) }

// Writer writes frames. It does not buffer: callers make large writes.
type Writer struct {
	w    io.Writer
	pool *Pool
	head [4]byte
	vec  [2][]byte
}

// NewWriter returns a Writer that writes frames to w. Its ReadFrom takes a
// buffer from pool.
func NewWriter(w io.Writer, pool *Pool) *Writer { return &Writer{w: w, pool: pool} }

// Write sends p as one or more frames.
func (f *Writer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+MaxFrame)]
		binary.BigEndian.PutUint32(f.head[:], uint32(len(part)))
		f.vec = [2][]byte{f.head[:], part}
		b := net.Buffers(f.vec[:])
		if _, err := b.WriteTo(f.w); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// End marks the stream's clean end.
func (f *Writer) End() error {
	_, err := f.w.Write([]byte{0, 0, 0, 0})
	return err
}

// Abort tells the reader why the stream does not end cleanly.
func (f *Writer) Abort(cause error) error {
	msg := cause.Error()
	msg = msg[:min(len(msg), maxMessage)]
	b := binary.BigEndian.AppendUint32(nil, abortMark)
	b = binary.BigEndian.AppendUint32(b, uint32(len(msg)))
	_, err := f.w.Write(append(b, msg...))
	return err
}

// Reader reads what a Writer wrote. It is not safe for concurrent use.
type Reader struct {
	r    *bufio.Reader
	pool *Pool
	left int
	err  error // sticky; io.EOF after a clean end
}

// NewReader returns a Reader of the frames in r. Its WriteTo takes a buffer
// from pool.
func NewReader(r io.Reader, pool *Pool) *Reader {
	// Reads larger than this go straight to the caller's memory.
	return &Reader{r: bufio.NewReaderSize(r, 32<<10), pool: pool}
}

// Read returns io.EOF only at a clean end, io.ErrUnexpectedEOF when the stream
// was cut off, and ErrAborted with the writer's message when it gave up.
func (f *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.left == 0 && f.err == nil {
		f.left, f.err = f.header()
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.r.Read(p[:min(len(p), f.left)])
	f.left -= n
	if err != nil {
		f.err = cutOff(err)
		return n, f.err
	}
	return n, nil
}

// WriteTo copies the rest of the stream to w in large writes.
func (f *Reader) WriteTo(w io.Writer) (int64, error) {
	b := f.pool.get()
	defer f.pool.put(b)
	return io.CopyBuffer(w, struct{ io.Reader }{f}, *b)
}

// header reads the next frame's length; at the stream's end, its error.
func (f *Reader) header() (int, error) {
	var h [4]byte
	if _, err := io.ReadFull(f.r, h[:]); err != nil {
		return 0, cutOff(err)
	}
	n := binary.BigEndian.Uint32(h[:])
	switch {
	case n == 0:
		return 0, io.EOF
	case n == abortMark:
		return 0, f.message()
	case n > MaxFrame:
		return 0, fmt.Errorf("stream: frame of %d bytes: larger than %d: %w", n, MaxFrame, errdefs.ErrDataLoss)
	}
	return int(n), nil
}

// message reads what follows an abort mark.
func (f *Reader) message() error {
	var h [4]byte
	if _, err := io.ReadFull(f.r, h[:]); err != nil {
		return cutOff(err)
	}
	n := binary.BigEndian.Uint32(h[:])
	if n > maxMessage {
		return fmt.Errorf("stream: abort message of %d bytes: %w", n, errdefs.ErrDataLoss)
	}
	msg := make([]byte, n)
	if _, err := io.ReadFull(f.r, msg); err != nil {
		return cutOff(err)
	}
	return fmt.Errorf("stream: writer gave up: %s: %w", msg, errdefs.ErrAborted)
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

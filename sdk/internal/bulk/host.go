package bulk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Host makes transfers on the host's side.
type Host struct {
	// Dir is where sockets are made, a directory that only this user enters.
	Dir  string
	Pool *Pool
	// Stall is how long a driver may take to connect, and then between two
	// reads or writes. Zero: five minutes.
	Stall time.Duration
}

// Call is the RPC that a transfer belongs to. It is served for as long as the
// transfer lasts, so that the call's error is the transfer's.
type Call func(ctx context.Context, socket string) error

// transfer is a call in flight and the connection that belongs to it.
type transfer struct {
	cancel context.CancelFunc
	conn   net.Conn
	unhook func() bool
	stall  time.Duration
	done   chan struct{} // closed when the call has ended
	err    error         // the call's; readable after done
}

// begin runs call and waits until the driver connects.
func (h Host) begin(ctx context.Context, call Call) (*transfer, error) {
	l, err := Listen(h.Dir)
	if err != nil {
		return nil, err
	}
	stall := h.Stall
	if stall == 0 {
		stall = 5 * time.Minute
	}
	limit := time.Now().Add(stall)
	if err := l.l.SetDeadline(limit); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &transfer{cancel: cancel, stall: stall, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = call(ctx, l.Path())
		if err := l.expire(t.err != nil); t.err == nil {
			t.err = err
		}
	}()
	conn, err := l.Accept()
	err = errors.Join(err, l.Close())
	if err != nil {
		stalled := !time.Now().Before(limit)
		cancel()
		<-t.done
		if !errors.Is(err, os.ErrDeadlineExceeded) { // for want of descriptors, say: the call was ended for that
			return nil, fmt.Errorf("stream: accept: %w", err)
		}
		if stalled {
			return nil, fmt.Errorf("stream: the driver did not connect within %s: %w", stall, errdefs.ErrUnavailable)
		}
		if t.err != nil {
			return nil, t.err
		}
		return nil, fmt.Errorf("stream: the driver answered without connecting: %w: %w", errdefs.ErrInternal, err)
	}
	t.conn = impatient{conn, stall}
	t.unhook = context.AfterFunc(ctx, func() { _ = conn.Close() }) // interrupts a transfer that is over
	return t, nil
}

// expire ends a wait in Accept after the call has ended. A connection that the
// driver made is in the backlog by then, unless the call failed.
func (l *Listener) expire(now bool) error {
	wait := time.Second
	if now {
		wait = 0
	}
	if err := l.l.SetDeadline(time.Now().Add(wait)); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// finish closes the connection and waits for the call.
func (t *transfer) finish() error {
	t.unhook()
	err := t.conn.Close()
	t.await()
	t.cancel()
	if t.err != nil || errors.Is(err, net.ErrClosed) {
		return t.err
	}
	return err
}

// Upload sends src to the driver. It returns when the call and the last read
// of src have ended. An error of src is returned as it is. whole is false when
// the driver was content with less than all of src.
func (h Host) Upload(ctx context.Context, src io.Reader, call Call) (whole bool, err error) {
	t, err := h.begin(ctx, call)
	if err != nil {
		return false, err
	}
	sendErr := t.watch(send(t.conn, src, h.Pool))
	err = t.finish()
	if errors.Is(sendErr, errStalled) {
		return false, sendErr
	}
	if s := (*sourceError)(nil); errors.As(sendErr, &s) {
		return false, s.err
	}
	return sendErr == nil, err
}

// Download writes what the driver sends to w.
func (h Host) Download(ctx context.Context, w io.Writer, call Call) error {
	r, err := h.Open(ctx, call)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Close())
}

// Open returns a reader of what the driver sends. Close it; closing early
// cancels the call. The reader fails with the call's error.
func (h Host) Open(ctx context.Context, call Call) (io.ReadCloser, error) {
	t, err := h.begin(ctx, call)
	if err != nil {
		return nil, err
	}
	return &download{t: t, r: NewReader(t.conn, h.Pool)}, nil
}

type download struct {
	t     *transfer
	r     *Reader
	close sync.Once
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil {
		err = d.end(d.t.watch(err))
	}
	return n, err
}

// WriteTo spares io.Copy its small buffer.
func (d *download) WriteTo(w io.Writer) (int64, error) {
	b := d.r.pool.get()
	defer d.r.pool.put(b)
	return io.CopyBuffer(w, struct{ io.Reader }{d}, *b)
}

// end makes the stream's end or failure the call's. The call must have ended
// before an end is believed.
func (d *download) end(err error) error {
	d.t.await()
	if d.t.err != nil && !errors.Is(err, errStalled) {
		return d.t.err
	}
	return err
}

// Close ends the call and waits for it. Its error after a cancellation is of
// no interest.
func (d *download) Close() error {
	d.close.Do(func() {
		d.t.cancel()
		_ = d.t.finish() // Read reported what matters
	})
	return nil
}

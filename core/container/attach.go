package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	framing "github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/term"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/api/hijack"
	"github.com/strakehq/strake/core/api/stdcopy"
	"github.com/strakehq/strake/core/logs"
	"github.com/strakehq/strake/sdk/runtime"
)

const defaultDetachKeys = "ctrl-p,ctrl-q"

// Attach implements containers.Streamer. Before the start the connection
// waits; it is joined to the process before that runs, so that no output is
// lost.
func (m *Manager) Attach(ctx context.Context, ref string, o containers.AttachOptions) (containers.Attached, error) {
	keys, err := m.detachKeys(o.DetachKeys)
	if err != nil {
		return containers.Attached{}, err
	}
	u, done, err := m.locked(ctx, ref)
	if err != nil {
		return containers.Attached{}, err
	}
	defer done()
	r, err := m.allows(u, opAttach)
	if err != nil {
		return containers.Attached{}, err
	}
	out := containers.Attached{TTY: r.Config.Tty}
	if r.Config.Tty {
		out.DetachKeys = keys
	}
	if !o.Stream {
		out.Conn = closedStream{}
	} else if out.Conn, err = m.stream(ctx, u, r, o); err != nil {
		return out, err
	}
	if o.Logs {
		if out.Conn, err = m.replay(ctx, r, o, out.Conn); err != nil {
			return out, err
		}
	}
	m.publish(r, events.ActionAttach)
	return out, nil
}

func (m *Manager) detachKeys(keys string) ([]byte, error) {
	if keys == "" {
		keys = m.cfg.DetachKeys
	}
	if keys == "" {
		keys = defaultDetachKeys
	}
	b, err := term.ToBytes(keys)
	if err != nil {
		return nil, invalid("invalid detach keys %q: %v", keys, err)
	}
	return b, nil
}

// stream connects to the process or, before it exists, waits for it. It is
// called with the lock held.
func (m *Manager) stream(ctx context.Context, u *unit, r record, o containers.AttachOptions) (containers.Stream, error) {
	want := runtime.StreamSet{Stdin: o.Stdin && r.Config.OpenStdin, Stdout: o.Stdout, Stderr: o.Stderr}
	if alive(r.Run.Status) {
		rt, err := m.runtimeOf(r)
		if err != nil {
			return nil, err
		}
		return dial(ctx, rt, r.ID, "", want)
	}
	p := newPending(want)
	p.onClose = func() { u.forgetPending(p) }
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pending = append(u.pending, p)
	return p, nil
}

func dial(ctx context.Context, rt runtime.Driver, id, exec string, want runtime.StreamSet) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, driverTimeout)
	defer cancel()
	socket, err := rt.Attach(ctx, runtime.ContainerID(id), runtime.ExecID(exec), want)
	if err != nil {
		return nil, fmt.Errorf("container %s: attach: %w", short(id), err)
	}
	return connect(ctx, id, socket)
}

func connect(ctx context.Context, id, socket string) (*net.UnixConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("container %s: attach: %w", short(id), err)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("container %s: attach: not a unix socket", short(id)), c.Close())
	}
	return uc, nil
}

// connectPending joins those who wait to the process that is about to run.
func (m *Manager) connectPending(ctx context.Context, u *unit, rt runtime.Driver) {
	u.mu.Lock()
	waiting := u.pending
	u.pending = nil
	u.mu.Unlock()
	for _, p := range waiting {
		c, err := dial(ctx, rt, u.id, "", p.want)
		if err = errors.Join(err, p.connect(c, err)); err != nil {
			m.log.Warn("attach", "container", short(u.id), "err", err)
		}
	}
}

// dropPending ends the connections that wait for a start.
func (u *unit) dropPending() {
	u.mu.Lock()
	waiting := u.pending
	u.pending = nil
	u.mu.Unlock()
	for _, p := range waiting {
		p.once.Do(p.end)
	}
}

func (u *unit) forgetPending(p *pendingStream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, have := range u.pending {
		if have == p {
			u.pending = append(u.pending[:i:i], u.pending[i+1:]...)
			return
		}
	}
}

// pendingStream is a stream whose other end comes later.
type pendingStream struct {
	want    runtime.StreamSet
	onClose func()
	ready   chan struct{}
	once    sync.Once
	conn    *net.UnixConn // valid once ready is closed, unless err
	err     error
}

var (
	_ containers.Stream = (*pendingStream)(nil)
	_ hijack.Later      = (*pendingStream)(nil)
)

func newPending(want runtime.StreamSet) *pendingStream {
	return &pendingStream{want: want, ready: make(chan struct{})}
}

// end is called once, instead of connect.
func (p *pendingStream) end() {
	p.err = io.EOF
	close(p.ready)
}

// connect may be called once by the manager; a Close before it wins.
func (p *pendingStream) connect(c *net.UnixConn, err error) error {
	mine := false
	p.once.Do(func() {
		p.conn, p.err, mine = c, err, true
		close(p.ready)
	})
	if mine || c == nil {
		return nil
	}
	return c.Close() // the client has left; its socket must not make the process wait
}

// Await implements hijack.Later.
func (p *pendingStream) Await() (*net.UnixConn, error) {
	<-p.ready
	return p.conn, p.err
}

func (p *pendingStream) Read(b []byte) (int, error) {
	c, err := p.Await()
	if err != nil {
		return 0, err
	}
	return c.Read(b)
}

func (p *pendingStream) Write(b []byte) (int, error) {
	c, err := p.Await()
	if err != nil {
		return 0, err
	}
	return c.Write(b)
}

func (p *pendingStream) CloseWrite() error {
	c, err := p.Await()
	if err != nil {
		return nil //nolint:nilerr // there is no other end to tell
	}
	return c.CloseWrite()
}

func (p *pendingStream) Close() error {
	p.once.Do(p.end)
	p.onClose()
	if c, err := p.Await(); err == nil {
		return c.Close()
	}
	return nil
}

// closedStream is for those who want the logs only.
type closedStream struct{}

func (closedStream) Read([]byte) (int, error)    { return 0, io.EOF }
func (closedStream) Write(b []byte) (int, error) { return len(b), nil }
func (closedStream) CloseWrite() error           { return nil }
func (closedStream) Close() error                { return nil }

// replayed puts what was logged in front of a stream.
type replayed struct {
	containers.Stream
	r    io.Reader
	log  *io.PipeReader
	done chan struct{} // closed when the log is no longer read
}

func (s replayed) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed // as of any connection that was closed
	}
	return n, err
}

// Close ends the replay too, which a client that has left will not read.
func (s replayed) Close() error {
	err := errors.Join(s.log.Close(), s.Stream.Close())
	<-s.done
	return err
}

// replay is called after the stream is connected: what is logged up to now
// comes from the log, what follows from the stream.
func (m *Manager) replay(ctx context.Context, r record, o containers.AttachOptions, s containers.Stream) (containers.Stream, error) {
	path := m.logPath(r)
	if path == "" {
		return s, nil
	}
	entries, err := logs.Snapshot(ctx, path, logs.Options{Stdout: o.Stdout, Stderr: o.Stderr})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("container %s: attach: %w", short(r.ID), err), s.Close())
	}
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		for e, readErr := range entries {
			if err = readErr; err == nil {
				err = frame(pw, e, r.Config.Tty)
			}
			if err != nil {
				break
			}
		}
		pw.CloseWithError(err)
	}()
	return replayed{s, io.MultiReader(pr, s), pr, done}, nil
}

func frame(w io.Writer, e logs.Entry, tty bool) error {
	if tty {
		_, err := w.Write(e.Line)
		return err
	}
	stream := framing.Stdout
	if e.Stream == "stderr" {
		stream = framing.Stderr
	}
	_, err := stdcopy.Writer{W: w, Stream: stream}.Write(e.Line)
	return err
}

package conformance

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/strakehq/strake/sdk/runtime"
)

// client is an attached connection.
type client struct {
	lab  *runtimeLab
	conn *net.UnixConn
	raw  bool
	rest []byte // of a frame
	from byte   // whose rest that is
}

// attach attaches to a process's streams.
func (l *runtimeLab) attach(b *box, exec runtime.ExecID, want runtime.StreamSet, raw bool) *client {
	path, err := l.d.Attach(l.ctx, b.id, exec, want)
	l.NoError(err, "attach")
	return l.connect(path, raw)
}

func (l *runtimeLab) connect(path string, raw bool) *client {
	var d net.Dialer
	c, err := d.DialContext(l.ctx, "unix", path)
	l.NoError(err, "connect")
	conn, ok := c.(*net.UnixConn)
	if !ok {
		l.Fatalf("not a unix connection: %T", c)
	}
	if at, ok := l.ctx.Deadline(); ok {
		l.NoError(conn.SetDeadline(at), "set deadline")
	}
	l.Cleanup(func() {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			l.Errorf("clean up: close: %w", err)
		}
	})
	return &client{lab: l, conn: conn, raw: raw}
}

// Read reads the bytes of one stream at a time.
func (c *client) Read(p []byte) (int, error) {
	if c.raw {
		return c.conn.Read(p)
	}
	for len(c.rest) == 0 {
		var head [8]byte
		if _, err := io.ReadFull(c.conn, head[:]); err != nil {
			return 0, err
		}
		if head[0] != 1 && head[0] != 2 || head[1]|head[2]|head[3] != 0 {
			c.lab.Fatalf("frame header %v", head)
		}
		c.from = head[0]
		c.rest = make([]byte, binary.BigEndian.Uint32(head[4:]))
		if _, err := io.ReadFull(c.conn, c.rest); err != nil {
			c.lab.Fatalf("torn frame: %w", err)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// expect reads some text of one stream; 1 and 2 as in frames, 0 for raw.
func (c *client) expect(stream byte, text string) {
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil {
		c.lab.Fatalf("read %q: %w after %q", text, err, buf)
	}
	if from := c.from; string(buf) != text || !c.raw && from != stream {
		c.lab.Fatalf("read %q from %d, want %q from %d", append(buf, c.soon()...), from, text, stream)
	}
}

// soon is what more is to be had: the rest of a complaint.
func (c *client) soon() []byte {
	c.lab.NoError(c.conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)), "set deadline")
	b, _ := io.ReadAll(io.LimitReader(c, 1000)) //nolint:errcheck // at the deadline
	return b
}

// end expects nothing more.
func (c *client) end() {
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		c.lab.Fatalf("at the end: %q, %w", b, err)
	}
}

func (c *client) send(text string) {
	_, err := io.WriteString(c.conn, text)
	c.lab.NoError(err, "send input")
}

func (c *client) closeWrite() { c.lab.NoError(c.conn.CloseWrite(), "end input") }

func (c *client) close() { c.lab.NoError(c.conn.Close(), "close") }

// silent checks that nothing comes for a moment.
func (c *client) silent(d time.Duration) {
	c.lab.NoError(c.conn.SetReadDeadline(time.Now().Add(d)), "set deadline")
	var b [1]byte
	if n, err := c.conn.Read(b[:]); err == nil {
		c.lab.Errorf("read %q where nothing should come", b[:n])
	}
}

// Package hijack turns the connection of an attach or exec request into the
// streams of a process.
package hijack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/moby/moby/api/types"

	"github.com/strakehq/strake/core/api/version"
)

// Stream is the process's side: each direction ends on its own.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Later is what a Stream may also be when it stands for a connection that comes
// later. The connection itself can be spliced, the Stream could not.
type Later interface {
	// Await returns the connection once it is there. io.EOF: it never comes.
	Await() (*net.UnixConn, error)
}

// Conn is a client's connection after the upgrade.
type Conn struct {
	net.Conn
	early *bufio.Reader // what the server had read ahead
}

// Upgrade takes a request's connection over and answers on it: 101 for a
// client that asks for an upgrade, else 200. The media type tells clients from
// API 1.42 on whether the output is framed. On error the connection is closed.
func Upgrade(ctx context.Context, w http.ResponseWriter, r *http.Request, tty bool) (*Conn, error) {
	head := w.Header().Clone()
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("hijack %s: %w", r.URL.Path, err)
	}
	// The server's own deadlines were for the request.
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(fmt.Errorf("hijack %s: %w", r.URL.Path, err), conn.Close())
	}
	head.Set("Content-Type", types.MediaTypeRawStream)
	status := "200 OK"
	if r.Header.Get("Upgrade") != "" {
		status = "101 UPGRADED"
		head.Set("Connection", "Upgrade")
		head.Set("Upgrade", "tcp")
		if !tty && !version.From(ctx).Before(1, 42) {
			head.Set("Content-Type", types.MediaTypeMultiplexedStream)
		}
	}
	c := &Conn{Conn: conn, early: buf.Reader}
	if err := c.answer(status, head); err != nil {
		return nil, errors.Join(fmt.Errorf("hijack %s: answer: %w", r.URL.Path, err), conn.Close())
	}
	return c, nil
}

func (c *Conn) answer(status string, head http.Header) error {
	w := bufio.NewWriter(c.Conn)
	if _, err := fmt.Fprintf(w, "HTTP/1.1 %s\r\n", status); err != nil {
		return err
	}
	if err := head.Write(w); err != nil {
		return err
	}
	if _, err := w.WriteString("\r\n"); err != nil {
		return err
	}
	return w.Flush()
}

// Read reads what the client sends.
func (c *Conn) Read(p []byte) (int, error) {
	if n := c.early.Buffered(); n > 0 {
		return c.early.Read(p[:min(n, len(p))])
	}
	return c.Conn.Read(p)
}

// CloseWrite ends the client's input.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

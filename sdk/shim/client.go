// Package shim starts strake-shim and speaks with it. It is for drivers of
// runtimes that follow the OCI command line or are wrapped to do so: all that
// is hard about keeping a container (streams, log, exit status, survival) is
// the shim's work.
//
// It needs nothing beyond the standard library and golang.org/x/sys.
package shim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/strakehq/strake/sdk/shim/wire"
)

// ErrGone is a call that the shim did not live to answer.
var ErrGone = errors.New("shim is gone")

// Client is a connection to a shim. Its methods may be called concurrently.
type Client struct {
	conn *net.UnixConn
	on   func(wire.Event)
	gone chan struct{} // closed when the connection ended

	writing sync.Mutex

	mu    sync.Mutex // guards all below
	seq   uint64
	calls map[uint64]chan wire.Reply
	pid   int
}

// Dial connects to the shim that listens at path. Its events go to on, one at
// a time, beginning with the exits so far. No shim is a connection refused.
func Dial(ctx context.Context, path string, on func(wire.Event)) (*Client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	conn, ok := nc.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%s: not a unix connection", path)
	}
	c := &Client{conn: conn, on: on, gone: make(chan struct{}), calls: map[uint64]chan wire.Reply{}}
	go c.receive()
	return c, nil
}

// Gone is closed when the connection has ended: the shim died, or ended after
// OpDelete, or Close was called.
func (c *Client) Gone() <-chan struct{} { return c.gone }

// Close ends the connection; the shim does not mind.
func (c *Client) Close() error { return c.conn.Close() }

// Call performs a request. An error that the shim answered is a *wire.Error;
// the reply may hold spans nevertheless.
func (c *Client) Call(ctx context.Context, r wire.Request) (wire.Reply, error) {
	answer := make(chan wire.Reply, 1)
	c.mu.Lock()
	c.seq++
	r.Seq = c.seq
	c.calls[r.Seq] = answer
	c.mu.Unlock()
	defer c.forget(r.Seq)
	if err := c.write(r); err != nil {
		return wire.Reply{}, fmt.Errorf("%w: %w", ErrGone, err)
	}
	select {
	case a := <-answer:
		return reply(a)
	case <-c.gone:
		select {
		case a := <-answer: // it came just before the end
			return reply(a)
		default:
			return wire.Reply{}, ErrGone
		}
	case <-ctx.Done():
		return wire.Reply{}, ctx.Err()
	}
}

func reply(r wire.Reply) (wire.Reply, error) {
	if r.Error != nil {
		return r, r.Error
	}
	return r, nil
}

func (c *Client) write(r wire.Request) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return wire.Write(c.conn, r)
}

func (c *Client) forget(seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, seq)
}

func (c *Client) receive() {
	defer close(c.gone)
	for {
		var r wire.Reply
		if err := wire.Read(c.conn, &r); err != nil {
			return // whatever it was, the shim cannot be heard any more
		}
		if r.Event != nil && r.Event.Kind != wire.Hello {
			c.on(*r.Event)
			continue
		}
		c.mu.Lock()
		if r.Event != nil {
			c.pid = r.Event.Pid
		}
		if answer, ok := c.calls[r.Seq]; ok {
			answer <- r
			delete(c.calls, r.Seq)
		}
		c.mu.Unlock()
	}
}

// Pid is the shim's process id, known once a call has been answered; 0 before.
func (c *Client) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

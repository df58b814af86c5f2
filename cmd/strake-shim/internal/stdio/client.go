package stdio

import (
	"encoding/binary"
	"io"
	"os"
	"sync"
	"time"

	"github.com/strakehq/strake/cmd/strake-shim/internal/pages"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// client is one attached connection, or the promise of one.
type client struct {
	hub  *hub
	want wire.Streams
	mem  *pages.Buffer

	mu        sync.Mutex // guards all below
	changed   *sync.Cond
	queue     []byte // in one of two buffers, which take turns
	spare     []byte // the other
	unbounded bool   // nobody waits for this client
	ended     bool   // after the queue comes the end
	gone      bool
	listener  *os.File // until the client has come
}

func newClient(h *hub, want wire.Streams, l *os.File) *client {
	c := &client{hub: h, want: want, mem: pages.New(2 * queueRoom), listener: l}
	c.changed = sync.NewCond(&c.mu)
	return c
}

func (c *client) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.changed.Broadcast()
}

// send queues output, waiting while the queue is full.
func (c *client) send(stream byte, b []byte) {
	if stream == 1 && !c.want.Stdout || stream == 2 && !c.want.Stderr {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) >= queueSize && !c.unbounded && !c.gone {
		c.changed.Wait()
	}
	if c.gone {
		return
	}
	if c.queue == nil {
		m := c.mem.Get()
		c.queue, c.spare = m[:0:queueRoom], m[queueRoom:queueRoom]
	}
	if !c.hub.raw {
		head := [8]byte{0: stream}
		binary.BigEndian.PutUint32(head[4:], uint32(len(b)))
		c.queue = append(c.queue, head[:]...)
	}
	c.queue = append(c.queue, b...)
	c.changed.Broadcast()
}

// take waits for output and takes it all. What it returned before is used
// again. It is empty at the end.
func (c *client) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && !c.ended && !c.gone {
		c.changed.Wait()
	}
	b := c.queue
	c.queue, c.spare = c.spare[:0], b
	c.changed.Broadcast()
	return b
}

// await gives the client so long to come, unless it is there.
func (c *client) await(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener == nil {
		return nil
	}
	return c.listener.SetReadDeadline(after(d))
}

// serve waits for the connection and serves it to its end.
func (c *client) serve(l *os.File, path string) {
	conn, err := c.accept(l, path)
	if err == nil {
		input := make(chan struct{})
		go func() {
			defer close(input)
			c.receive(conn)
		}()
		c.deliver(conn)
		<-input
		if err := conn.Close(); err != nil {
			note("close client: %v", err)
		}
	}
	c.set(func() { c.gone, c.queue, c.spare = true, nil, nil })
	if err := c.mem.Free(); err != nil {
		note("free client: %v", err)
	}
	c.hub.remove(c)
}

func (c *client) accept(l *os.File, path string) (*os.File, error) {
	conn, err := Accept(l)
	c.set(func() { c.listener = nil })
	if err := l.Close(); err != nil {
		note("close listener: %v", err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		note("remove socket: %v", err)
	}
	return conn, err
}

// deliver writes the queue until the end or until the client is gone, and gives
// the client a while to say good-bye.
func (c *client) deliver(conn *os.File) {
	for {
		b := c.take()
		if len(b) == 0 {
			break
		}
		if _, err := conn.Write(b); err != nil {
			c.set(func() { c.gone = true }) // it left
			break
		}
	}
	if err := closeWrite(conn); err != nil {
		c.set(func() { c.gone = true })
	}
	if err := conn.SetReadDeadline(after(leaveWithin)); err != nil {
		note("client: set deadline: %v", err)
	}
}

// receive passes input on until the client ends it. Input that nobody wants
// is read nevertheless, since closing a socket with unread bytes would be an
// error to the other side.
func (c *client) receive(conn *os.File) {
	in := c.hub.input()
	if c.want.Stdin && in != nil {
		err := in.copy(conn)
		if err == nil || in.closed() {
			in.clientLeft()
		}
	}
	if _, err := io.Copy(io.Discard, onlyReader{conn}); err != nil && !os.IsTimeout(err) {
		note("client: %v", err)
	}
}

// onlyReader hides ReadFrom and WriteTo, which would pull in large buffers.
type onlyReader struct{ io.Reader }

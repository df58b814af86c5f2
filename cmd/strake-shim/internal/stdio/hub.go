package stdio

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/strakehq/strake/sdk/shim/wire"
)

// Times that a client is given.
const (
	connectWithin = time.Minute
	comeNow       = 2 * time.Second // when all else is over
	leaveWithin   = 10 * time.Second
)

// queueSize bounds what is kept for a client before the process waits. A queue
// just below it has room for one chunk more; beyond that, at the process's end,
// it moves to the heap.
const (
	queueSize = 256 << 10
	queueRoom = queueSize + chunk + 64
)

// hub hands a process's output to attached clients and their input to the
// process.
type hub struct {
	raw bool // no frames

	mu      sync.Mutex // guards all below
	stdin   *input
	clients []*client      // copied on write
	ended   bool           // no more clients
	left    sync.WaitGroup // clients
}

// ErrEnded is an attach that comes too late.
var ErrEnded = errors.New("streams have ended")

// attach returns the path of a socket, which is at path, for one client.
func (h *hub) attach(path string, want wire.Streams) error {
	l, err := Listen(path)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return errors.Join(ErrEnded, l.Close(), os.Remove(path))
	}
	c := newClient(h, want, l)
	if err := c.await(connectWithin); err != nil {
		return errors.Join(err, l.Close(), os.Remove(path))
	}
	h.clients = append(h.clients[:len(h.clients):len(h.clients)], c)
	h.left.Add(1)
	go c.serve(l, path)
	return nil
}

func (h *hub) setInput(in *input) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stdin = in
}

func (h *hub) input() *input {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stdin
}

func (h *hub) list() []*client {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clients
}

// send gives output to all clients and waits for slow ones.
func (h *hub) send(stream byte, b []byte) {
	for _, c := range h.list() {
		c.send(stream, b)
	}
}

// hurry lets nobody wait for clients any longer: the process has ended, what
// is left is bounded by the pipes' size.
func (h *hub) hurry() {
	for _, c := range h.list() {
		c.set(func() { c.unbounded = true })
	}
}

// end tells clients that all has been said.
func (h *hub) end() {
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	for _, c := range h.list() {
		c.set(func() { c.ended = true })
	}
}

// wait returns when all clients have left. One that was announced and never
// came, since the daemon died meanwhile, is not awaited for long.
func (h *hub) wait() {
	for _, c := range h.list() {
		if err := c.await(comeNow); err != nil {
			note("client: set deadline: %v", err)
		}
	}
	h.left.Wait()
}

func (h *hub) remove(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rest []*client
	for _, o := range h.clients {
		if o != c {
			rest = append(rest, o)
		}
	}
	h.clients = rest
	h.left.Done()
}

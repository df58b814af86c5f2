// Package control serves the shim's control socket.
package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/strakehq/strake/cmd/strake-shim/internal/monitor"
	"github.com/strakehq/strake/cmd/strake-shim/internal/stdio"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Server serves one container to any number of drivers.
type Server struct {
	container *monitor.Container
	done      chan struct{} // closed when the container is deleted
	end       sync.Once
	tidy      tidy

	mu    sync.Mutex // guards conns
	conns map[*conn]bool
}

// conn is one driver's connection.
type conn struct {
	f  *os.File
	mu sync.Mutex // held while writing
}

// New returns a server; its Emit is for the container that Serve gets.
func New() *Server { return &Server{done: make(chan struct{}), conns: map[*conn]bool{}} }

// Emit sends an event to all drivers, and waits for none.
func (s *Server) Emit(e wire.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		go s.send(c, wire.Reply{Event: &e})
	}
}

// Serve answers requests until the container is deleted.
func (s *Server) Serve(listener *os.File, c *monitor.Container) error {
	s.container = c
	failed := make(chan error, 1)
	go func() {
		for {
			f, err := stdio.Accept(listener)
			if err != nil {
				failed <- err
				return
			}
			go s.serve(&conn{f: f})
		}
	}()
	select {
	case err := <-failed:
		return err
	case <-s.done:
		c.Leave()
		return nil
	}
}

func (s *Server) serve(c *conn) {
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	s.send(c, wire.Reply{Event: &wire.Event{Kind: wire.Hello, Pid: os.Getpid()}})
	for _, e := range s.container.Exits() {
		s.send(c, wire.Reply{Event: &e})
	}
	for {
		var r wire.Request
		if err := wire.Read(c.f, &r); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				note("read request: %v", err)
			}
			break
		}
		go s.do(c, r)
	}
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if err := c.f.Close(); err != nil {
		note("close connection: %v", err)
	}
}

func (s *Server) do(c *conn, r wire.Request) {
	defer s.tidy.after()
	reply, err := s.container.Do(r)
	if err != nil {
		reply.Error = monitor.WireError(err)
	}
	reply.Seq = r.Seq
	s.send(c, reply)
	if r.Op == wire.OpDelete && err == nil {
		s.end.Do(func() { close(s.done) })
	}
}

func (s *Server) send(c *conn, r wire.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := wire.Write(c.f, r); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
		note("send: %v", err)
	}
}

func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "control: "+format+"\n", args...)
}

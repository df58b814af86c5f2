package monitor

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/strakehq/strake/cmd/strake-shim/internal/stdio"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// exec starts an additional process. Repeating it answers with its state.
func (c *Container) exec(r wire.Request) (wire.Reply, error) {
	if p, err := c.process(r.Exec); err == nil {
		return c.again(p, r)
	}
	c.starting.RLock()
	defer c.starting.RUnlock()
	if err := c.expect(wire.Running); err != nil {
		return wire.Reply{}, err
	}
	p := newProcess(r.Exec, filepath.Join(c.dir, wire.ExecDir, r.Exec))
	socket, err := c.prepare(p, r)
	if err != nil {
		return wire.Reply{}, errors.Join(internal(err), os.RemoveAll(p.dir))
	}
	mishap.Hit(mishap.ShimExec)
	err = c.span("runtime exec", func() error { return c.runExec(p) })
	if err != nil {
		return wire.Reply{Spans: c.takeSpans()}, errors.Join(asRuntime(err), p.streams.Discard(), os.RemoveAll(p.dir))
	}
	reply, err := c.answer(r.Exec, nil)
	reply.Socket = socket
	return reply, err
}

// again is an exec that is there already.
func (c *Container) again(p *process, r wire.Request) (wire.Reply, error) {
	reply, err := c.answer(p.id, nil)
	if err == nil && r.Streams != (wire.Streams{}) && reply.State.Status != wire.Stopped {
		var a wire.Reply
		a, err = c.attach(p.id, r.Streams)
		reply.Socket = a.Socket
	}
	return reply, err
}

// prepare makes the directory and the streams of an exec, and the socket for
// its first client.
func (c *Container) prepare(p *process, r wire.Request) (socket string, err error) {
	r.IO.UID, r.IO.GID = c.conf.IO.UID, c.conf.IO.GID
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(p.file("process.json"), r.Process, 0o600); err != nil {
		return "", err
	}
	if err := wire.Store(p.file(wire.ConfigFile), r.IO); err != nil {
		return "", err
	}
	p.streams, err = stdio.New(stdio.Options{Dir: p.dir, IO: r.IO, Console: c.socket(), StdinClosed: c.stdinClosed(p)})
	if err != nil || r.Streams == (wire.Streams{}) {
		return "", err
	}
	socket = c.socket()
	if err := p.streams.Attach(socket, r.Streams); err != nil {
		return "", errors.Join(err, p.streams.Discard())
	}
	return socket, nil
}

func (p *process) file(name string) string { return filepath.Join(p.dir, name) }

func (c *Container) runExec(p *process) error {
	release := c.reaper.Expect()
	defer release()
	files, console := p.streams.Child()
	args := []string{"--detach", "--pid-file", p.pidFile(), "--process", p.file("process.json")}
	if console != "" {
		args = append(args, "--console-socket", console)
	}
	if err := c.runtime.Run(files, "exec", append(args, c.conf.ID)...); err != nil {
		return err
	}
	c.mu.Lock()
	c.execs[p.id] = p
	c.mu.Unlock()
	if err := c.begin(p, wire.Running); err != nil {
		c.mu.Lock()
		delete(c.execs, p.id)
		c.mu.Unlock()
		return err
	}
	return nil
}

// execsEndWithin is how long the container's removal waits for its execs: they
// have ended with it.
const execsEndWithin = 2 * time.Second

// awaitExecs waits until no exec writes into its directory any more, be it
// because it is being started or because it has ended.
func (c *Container) awaitExecs() {
	none := make(chan struct{})
	go func() {
		defer close(none)
		c.starting.Lock() // none starts after it: the container has stopped
		defer c.starting.Unlock()
		c.mu.Lock()
		execs := slices.Collect(maps.Values(c.execs))
		c.mu.Unlock()
		for _, p := range execs {
			<-p.done
		}
	}()
	select {
	case <-none:
	case <-time.After(execsEndWithin):
		note("delete: an exec does not end")
	}
}

// deleteExec forgets an exec that has ended.
func (c *Container) deleteExec(id string) error {
	p, err := c.process(id)
	if err != nil {
		return nil // gone already
	}
	if s := c.stateOf(p).Status; s != wire.Stopped {
		return precondition("exec is " + string(s))
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return internal(fmt.Errorf("exec %s: remove: %w", id, err))
	}
	mishap.Hit(mishap.ShimExecGone)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.execs, id)
	return nil
}

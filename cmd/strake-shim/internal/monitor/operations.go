package monitor

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/stdio"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/shim/cgroup"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Do performs a request.
func (c *Container) Do(r wire.Request) (wire.Reply, error) {
	<-c.ready
	if err := c.outcome(); err != nil && r.Op != wire.OpDelete {
		return wire.Reply{Spans: c.takeSpans()}, err
	}
	switch r.Op {
	case wire.OpReady, wire.OpState:
		return c.answer(r.Exec, nil)
	case wire.OpStart:
		return c.answer("", c.start())
	case wire.OpKill:
		return wire.Reply{}, c.kill(r)
	case wire.OpPause:
		return wire.Reply{}, c.freeze("pause", wire.Running, true)
	case wire.OpResume:
		return wire.Reply{}, c.freeze("resume", wire.Paused, false)
	case wire.OpUpdate:
		return wire.Reply{}, c.change([]wire.Status{wire.Created, wire.Running, wire.Paused}, "update", "--resources", r.Path)
	case wire.OpDelete:
		return c.delete(r.Force)
	case wire.OpExec:
		return c.exec(r)
	case wire.OpDeleteExec:
		return wire.Reply{}, c.deleteExec(r.Exec)
	case wire.OpAttach:
		return c.attach(r.Exec, r.Streams)
	case wire.OpResize, wire.OpCloseStdin:
		return wire.Reply{}, c.input(r)
	default:
		return wire.Reply{}, internal(errors.New("unknown operation " + string(r.Op)))
	}
}

func (c *Container) outcome() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// answer is the state of a process.
func (c *Container) answer(exec string, err error) (wire.Reply, error) {
	if err != nil {
		return wire.Reply{Spans: c.takeSpans()}, err
	}
	p, err := c.process(exec)
	if err != nil {
		return wire.Reply{}, err
	}
	s := c.stateOf(p)
	return wire.Reply{State: &s, Spans: c.takeSpans()}, nil
}

func (c *Container) process(exec string) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if exec == "" {
		return c.init, nil
	}
	if p, ok := c.execs[exec]; ok {
		return p, nil
	}
	return nil, &wire.Error{Class: wire.NotFound, Message: "exec " + exec + ": not found"}
}

func (c *Container) stateOf(p *process) wire.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := p.state
	if p.id == "" && c.paused && s.Status == wire.Running {
		s.Status = wire.Paused
	}
	return s
}

// expect fails unless the container is in one of the given statuses.
func (c *Container) expect(want ...wire.Status) error {
	now := c.stateOf(c.init).Status
	for _, w := range want {
		if now == w {
			return nil
		}
	}
	return precondition("container is " + string(now))
}

// change runs a command of the runtime that needs the container in one of some
// statuses.
func (c *Container) change(from []wire.Status, command string, args ...string) error {
	c.command.Lock()
	defer c.command.Unlock()
	if err := c.expect(from...); err != nil {
		return err
	}
	err := c.span("runtime "+command, func() error {
		if command == "start" {
			return c.runtime.Start(c.conf.ID, c.init.gone)
		}
		return c.runtime.Run([3]*os.File{}, command, append(args, c.conf.ID)...)
	})
	if err != nil {
		return asRuntime(err)
	}
	return nil
}

func (c *Container) start() error {
	if s := c.stateOf(c.init).Status; s == wire.Running || s == wire.Paused {
		return nil
	}
	waiting := ""
	if c.conf.IO.Terminal {
		waiting = c.init.name()
	}
	if err := c.change([]wire.Status{wire.Created}, "start"); err != nil {
		return err
	}
	c.mu.Lock()
	p := c.init
	mishap.Hit(mishap.ShimStarted)
	p.state.StartedAt = time.Now()
	if p.state.Status == wire.Created { // else it has ended already
		p.state.Status = wire.Running
	}
	s := p.state
	c.mu.Unlock()
	if s.TTY == 0 {
		p.streams.Started()
	} else {
		go p.admitInput(waiting)
	}
	if s.Status != wire.Running {
		return nil
	}
	if err := wire.Store(filepath.Join(c.dir, wire.StateFile), s); err != nil {
		return internal(err)
	}
	return nil
}

func (c *Container) freeze(command string, from wire.Status, paused bool) error {
	if c.stateOf(c.init).Status == map[bool]wire.Status{true: wire.Paused, false: wire.Running}[paused] {
		return nil
	}
	if err := c.change([]wire.Status{from}, command); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = paused
	return nil
}

func (c *Container) kill(r wire.Request) error {
	p, err := c.process(r.Exec)
	if err != nil {
		return err
	}
	if r.All {
		c.mu.Lock()
		g := c.group
		c.mu.Unlock()
		err = signalAll(g, r.Signal)
	} else if c.stateOf(p).Status != wire.Stopped {
		err = p.handle.Signal(r.Signal)
	}
	if err != nil {
		return internal(err)
	}
	if r.Signal == int(unix.SIGKILL) && c.stateOf(c.init).Status == wire.Paused {
		return c.freeze("resume", wire.Paused, false) // the frozen cannot die
	}
	return nil
}

// signalAll signals every process in a cgroup.
func signalAll(g cgroup.Group, signal int) error {
	pids, err := g.Processes()
	for _, pid := range pids {
		if kerr := unix.Kill(pid, unix.Signal(signal)); kerr != nil && !errors.Is(kerr, unix.ESRCH) {
			err = errors.Join(err, kerr)
		}
	}
	return err
}

func (c *Container) attach(exec string, want wire.Streams) (wire.Reply, error) {
	p, err := c.process(exec)
	if err != nil {
		return wire.Reply{}, err
	}
	path := c.socket()
	if err := p.streams.Attach(path, want); errors.Is(err, stdio.ErrEnded) {
		return wire.Reply{}, precondition("process is stopped")
	} else if err != nil {
		return wire.Reply{}, internal(err)
	}
	return wire.Reply{Socket: path}, nil
}

func (c *Container) input(r wire.Request) error {
	p, err := c.process(r.Exec)
	if err != nil {
		return err
	}
	if s := c.stateOf(p).Status; s == wire.Stopped {
		if r.Op == wire.OpCloseStdin { // perhaps by this very call, whose answer was lost
			return nil
		}
		return precondition("process is stopped")
	}
	if r.Op == wire.OpCloseStdin {
		err = p.streams.CloseStdin()
	} else {
		err = p.streams.Resize(r.Width, r.Height)
	}
	if errors.Is(err, stdio.ErrNoTTY) {
		return precondition(err.Error())
	} else if err != nil {
		return internal(err)
	}
	return nil
}

// delete ends the container if it must and waits until nothing is left of it.
func (c *Container) delete(force bool) (wire.Reply, error) {
	if c.outcome() != nil {
		return wire.Reply{}, nil
	}
	if err := c.expect(wire.Stopped); err != nil {
		if !force {
			return wire.Reply{}, err
		}
		if err := c.kill(wire.Request{Signal: int(unix.SIGKILL)}); err != nil {
			return wire.Reply{}, err
		}
	}
	<-c.init.done
	<-c.deleted
	c.awaitExecs()
	r, err := c.answer("", nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deleteErr != nil {
		note("delete: %v", c.deleteErr) // the driver looks for what is left
	}
	return r, err
}

// Leave waits until the streams' clients have left.
func (c *Container) Leave() {
	c.mu.Lock()
	ps := []*process{c.init}
	for _, p := range c.execs {
		ps = append(ps, p)
	}
	c.mu.Unlock()
	for _, p := range ps {
		if p != nil {
			p.streams.Clients()
		}
	}
}

// Exits are the events of the processes that have ended so far.
func (c *Container) Exits() (events []wire.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ps := []*process{c.init}
	for _, p := range c.execs {
		ps = append(ps, p)
	}
	for _, p := range ps {
		if p != nil && p.state.Exit != nil {
			events = append(events, wire.Event{Kind: wire.Exited, Exec: p.id, At: p.state.Exit.At, Exit: p.state.Exit})
		}
	}
	return events
}

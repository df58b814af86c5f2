package monitor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/reap"
	"github.com/strakehq/strake/cmd/strake-shim/internal/stdio"
	"github.com/strakehq/strake/sdk/shim/cgroup"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Kept are descriptors that the driver kept for the case that a shim dies: by
// exec, "" being the first process. A pidfd that was open before a process's
// end tells its status even afterwards.
type Kept map[string]struct{ Process, TTY *os.File }

// Adopt takes over a container whose shim died.
func (c *Container) Adopt(kept Kept) {
	err := c.adopt(kept)
	c.mu.Lock()
	c.failed = err
	c.mu.Unlock()
	close(c.ready)
}

func (c *Container) adopt(kept Kept) error {
	p := newProcess("", c.dir)
	s, err := p.stored()
	if err != nil {
		return internal(fmt.Errorf("adopt: %w", err))
	}
	c.recallGroup(s.Pid)
	if err := c.ask(&s); err != nil {
		note("adopt: %v", err) // the stored state must do
	}
	if err := c.takeOver(p, s, c.conf.IO, kept); err != nil {
		return internal(fmt.Errorf("adopt: %w", err))
	}
	c.mu.Lock()
	c.init = p
	c.mu.Unlock()
	c.startOOMWatch()
	dirs, err := os.ReadDir(filepath.Join(c.dir, wire.ExecDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return internal(err)
	}
	for _, d := range dirs {
		if err := c.adoptExec(d.Name(), kept); err != nil {
			note("adopt exec %s: %v", d.Name(), err)
		}
	}
	return nil
}

func (p *process) stored() (s wire.State, err error) {
	err = wire.Load(p.file(wire.StateFile), &s)
	return s, err
}

// recallGroup finds the container's cgroup, as it was stored or by its process.
func (c *Container) recallGroup(pid int) {
	var g cgroup.Group
	if wire.Load(filepath.Join(c.dir, groupFile), &g) == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.group = g
		return
	}
	g, err := groupFinder()(pid, c.conf.ID)
	c.setGroup(g, err)
}

// ask has the runtime tell the container's status, which may have changed since
// the state was stored.
func (c *Container) ask(s *wire.State) error {
	status, err := c.runtime.Status(c.conf.ID)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.paused = status == string(wire.Paused)
	c.mu.Unlock()
	if status == string(wire.Created) || status == string(wire.Stopped) && c.runtime.Waits(c.conf.ID) {
		return nil // in the second case it ended while it waited for its start
	}
	s.Status = wire.Running
	if s.StartedAt.IsZero() {
		s.StartedAt = time.Now()
	}
	return nil
}

// takeOver adopts a process.
func (c *Container) takeOver(p *process, s wire.State, io wire.IO, kept Kept) error {
	k := kept[p.id]
	if k.Process != nil {
		p.handle = reap.FromFile(s.Pid, s.Ticks, k.Process)
	} else if h, err := reap.OpenProcess(s.Pid, s.Ticks); err == nil {
		p.handle = h
	} else if !errors.Is(err, unix.ESRCH) {
		return err
	}
	streams, err := stdio.Adopt(stdio.Options{Dir: p.dir, IO: io, StdinClosed: c.stdinClosed(p)}, k.TTY, s.StdinOpen)
	if err != nil {
		return err
	}
	p.streams = streams
	if io.StdinOnce && s.Status == wire.Running { // the one client went with the shim
		if err := streams.CloseStdin(); err != nil {
			return err
		}
	}
	if s.Status != wire.Created {
		streams.Started()
	}
	s.TTY, s.StdinOpen = streams.TTY(), streams.StdinOpen()
	p.state = s
	go func() { c.ended(p, p.wait()) }()
	return nil
}

func (c *Container) adoptExec(id string, kept Kept) error {
	p := newProcess(id, filepath.Join(c.dir, wire.ExecDir, id))
	s, err := p.stored()
	if errors.Is(err, fs.ErrNotExist) { // it had not begun
		return os.RemoveAll(p.dir)
	}
	var exit wire.Exit
	if err == nil {
		err = wire.Load(p.file(wire.ExitFile), &exit)
	}
	switch {
	case err == nil:
		p.streams = stdio.Ended()
		p.state = wire.State{Status: wire.Stopped, StartedAt: s.StartedAt, Exit: &exit}
		close(p.gone)
		close(p.done)
	case errors.Is(err, fs.ErrNotExist):
		var io wire.IO
		if err := wire.Load(p.file(wire.ConfigFile), &io); err != nil {
			return err
		}
		if err := c.takeOver(p, s, io, kept); err != nil {
			return err
		}
	default:
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.execs[id] = p
	return nil
}

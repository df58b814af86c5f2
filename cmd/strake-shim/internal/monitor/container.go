// Package monitor keeps one container: its first process, its execs, what the
// driver may ask of them, and what the driver must be told.
package monitor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/strakehq/strake/cmd/strake-shim/internal/mountns"
	"github.com/strakehq/strake/cmd/strake-shim/internal/oci"
	"github.com/strakehq/strake/cmd/strake-shim/internal/reap"
	"github.com/strakehq/strake/cmd/strake-shim/internal/stdio"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/shim/cgroup"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// grace is how long output of others is awaited after a process has ended.
const grace = 2 * time.Second

// Container is the one container of a shim.
type Container struct {
	dir     string
	conf    wire.Config
	reaper  *reap.Reaper
	mounts  *mountns.Namespace
	runtime *oci.Runner
	emit    func(wire.Event)

	ready   chan struct{} // closed when created or adopted, or that failed
	deleted chan struct{} // closed when the runtime has forgotten the container

	command sync.Mutex // held while the runtime changes the container
	// starting is held for reading by each exec that is being started.
	starting sync.RWMutex

	mu        sync.Mutex // guards all below
	failed    error      // why creation or adoption failed
	spans     []wire.Span
	init      *process
	execs     map[string]*process
	paused    bool
	group     cgroup.Group
	oomWatch  *os.File
	oom       bool
	sockets   int
	deleteErr error
}

// New prepares for the container whose directory is given. Events go to emit,
// which must not block.
func New(dir string, conf wire.Config, r *reap.Reaper, m *mountns.Namespace, oomScore string, emit func(wire.Event)) *Container {
	return &Container{
		dir: dir, conf: conf, reaper: r, mounts: m, emit: emit,
		runtime: &oci.Runner{Runtime: conf.Runtime, Reaper: r, Mounts: m, Dir: dir, OOMScore: oomScore},
		ready:   make(chan struct{}), deleted: make(chan struct{}),
		execs: map[string]*process{},
	}
}

// Create mounts the root file system and has the runtime create the container.
func (c *Container) Create() {
	err := c.create()
	c.mu.Lock()
	c.failed = err
	c.mu.Unlock()
	close(c.ready)
}

func (c *Container) create() error {
	if err := c.span("mount rootfs", c.mount); err != nil {
		return internal(fmt.Errorf("root file system: %w", err))
	}
	mishap.Hit(mishap.ShimMounted)
	if err := c.mounts.Do(c.checkLinks); err != nil {
		return err
	}
	if len(c.conf.Writable) > 0 {
		if err := c.mounts.Do(func() error { return mountns.Guard(c.conf.Writable) }); err != nil {
			return internal(fmt.Errorf("make the host read-only to the runtime: %w", err))
		}
	}
	p := newProcess("", c.dir)
	streams, err := stdio.New(stdio.Options{Dir: c.dir, IO: c.conf.IO, Console: c.socket(), StdinClosed: c.stdinClosed(p)})
	if err != nil {
		return internal(fmt.Errorf("standard streams: %w", err))
	}
	p.streams = streams
	release := c.reaper.Expect()
	defer release()
	group := groupFinder() // while the runtime works
	if err := c.span("runtime create", func() error { return c.runCreate(p) }); err != nil {
		return errors.Join(asRuntime(err), c.undo(p))
	}
	if err := c.checkMasks(p); err != nil {
		return errors.Join(err, c.undo(p))
	}
	if err := c.begin(p, wire.Created); err != nil {
		return errors.Join(internal(err), c.undo(p))
	}
	c.mu.Lock()
	c.init = p
	c.mu.Unlock()
	g, err := group(p.state.Pid, c.conf.ID)
	c.setGroup(g, err)
	c.startOOMWatch()
	return nil
}

func (c *Container) mount() error {
	if len(c.conf.Mounts) == 0 {
		return nil
	}
	return c.mounts.Do(func() error { return mount.All(c.conf.Mounts, c.conf.Rootfs) })
}

// checkLinks refuses a root of which a directory that the runtime fills is a link:
// runc before 1.3.6 follows one at /dev, out of the root, and makes links on the
// host (CVE-2026-41579).
func (c *Container) checkLinks() error {
	for _, name := range []string{"dev", "proc", "sys"} {
		st, err := os.Lstat(filepath.Join(c.conf.Rootfs, name))
		if err == nil && st.Mode()&os.ModeSymlink != 0 {
			return precondition("root file system: /" + name + " is a symbolic link, as no image of good faith has it: make it a directory")
		}
	}
	return nil // what is not there the runtime makes
}

func (c *Container) runCreate(p *process) error {
	files, console := p.streams.Child()
	args := append([]string{"--bundle", c.conf.Bundle, "--pid-file", p.pidFile()}, c.conf.Runtime.CreateArgs...)
	if console != "" {
		args = append(args, "--console-socket", console)
	}
	return c.runtime.Run(files, "create", append(args, c.conf.ID)...)
}

// begin takes charge of the process that the runtime has left behind.
func (c *Container) begin(p *process, status wire.Status) error {
	pid, err := p.readPid()
	if err != nil {
		return err
	}
	handle, ended, err := c.reaper.Claim(pid)
	if err != nil {
		return err
	}
	p.handle = handle
	if err := p.streams.Run(); err != nil {
		return err
	}
	s := wire.State{Status: status, Pid: pid, TTY: p.streams.TTY(), StdinOpen: p.streams.StdinOpen()}
	if s.Ticks, err = handle.Ticks(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if status == wire.Running {
		s.StartedAt = time.Now()
		p.streams.Started()
	}
	c.mu.Lock()
	p.state = s
	c.mu.Unlock()
	if err := wire.Store(filepath.Join(p.dir, wire.StateFile), s); err != nil {
		return err
	}
	go func() { c.ended(p, <-ended) }()
	return nil
}

// undo removes what a failed creation has left: whatever of the runtime still
// runs, and the streams. Its state and cgroup are the driver's to clean up,
// which must do so for a shim that died, too.
func (c *Container) undo(p *process) error {
	return errors.Join(killChildren(), p.streams.Discard())
}

// span times a piece of work.
func (c *Container) span(name string, f func() error) error {
	s := wire.Span{Name: name, Start: time.Now()}
	err := f()
	s.End = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, s)
	return err
}

func (c *Container) takeSpans() []wire.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.spans
	c.spans = nil
	return s
}

// socket is a path for a new socket.
func (c *Container) socket() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets++
	return c.conf.Socket + "." + strconv.Itoa(os.Getpid()%1000) + "." + strconv.Itoa(c.sockets)
}

func (c *Container) stdinClosed(p *process) func() {
	return func() {
		c.mu.Lock()
		p.state.StdinOpen = false
		c.mu.Unlock()
		c.emit(wire.Event{Kind: wire.StdinClosed, Exec: p.id, At: time.Now()})
	}
}

// groupFile keeps the cgroup for a shim that comes later.
const groupFile = "cgroup.json"

// groupFinder looks where cgroups are mounted, at once, for a function that
// finds that of a process.
func groupFinder() (of func(pid int, id string) (cgroup.Group, error)) {
	var mounts cgroup.Mounts
	done := make(chan error, 1)
	go func() {
		m, err := cgroup.Mounted()
		mounts = m
		done <- err
	}()
	return func(pid int, id string) (cgroup.Group, error) {
		if err := <-done; err != nil {
			return cgroup.Group{}, err
		}
		return mounts.Of(pid, id)
	}
}

// setGroup stores the container's cgroup.
func (c *Container) setGroup(g cgroup.Group, err error) {
	if err == nil {
		err = wire.Store(filepath.Join(c.dir, groupFile), g)
	}
	if err != nil {
		note("find cgroup: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.group = g
}

func (c *Container) startOOMWatch() {
	f, err := c.group.WatchOOM(func() {
		c.mu.Lock()
		c.oom = true
		c.mu.Unlock()
		c.emit(wire.Event{Kind: wire.OOM, At: time.Now()})
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		note("%v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oomWatch = f
}

// note writes to the shim's own log.
func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().UTC().Format(time.RFC3339Nano)+" "+format+"\n", args...)
}

package monitor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/reap"
	"github.com/strakehq/strake/cmd/strake-shim/internal/stdio"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// process is the container's first process or an exec.
type process struct {
	id      string // empty for the first process
	dir     string
	streams *stdio.Streams
	handle  *reap.Process
	gone    chan struct{} // closed when the process has ended
	done    chan struct{} // closed when state.Exit is set and on disk

	state wire.State // guarded by Container.mu
}

func newProcess(id, dir string) *process {
	return &process{
		id: id, dir: dir, gone: make(chan struct{}), done: make(chan struct{}),
		state: wire.State{Status: wire.Creating},
	}
}

func (p *process) pidFile() string { return filepath.Join(p.dir, "pid") }

func (p *process) readPid() (int, error) {
	b, err := os.ReadFile(p.pidFile())
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s: no pid in %q", p.pidFile(), b)
	}
	return pid, nil
}

// How long and how often the OCI runtime's process, which was let go, is looked
// at until it has become the container's.
const (
	becomesWithin = time.Second
	becomesEvery  = time.Millisecond
)

// admitInput lets a terminal's input through as soon as the process is no longer
// the runtime's that waited in its place under the name waiting.
func (p *process) admitInput(waiting string) {
	end := time.Now().Add(becomesWithin)
	for p.name() == waiting && waiting != "" && time.Now().Before(end) {
		time.Sleep(becomesEvery)
	}
	p.streams.Started()
}

// name is the process's command name; empty when it is gone.
func (p *process) name() string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.handle.Pid) + "/comm")
	if err != nil {
		return ""
	}
	return string(b)
}

// statusFile keeps how an exec ended while its output is being read, for a shim
// that comes later: one that ends at once is reaped before the driver holds it.
const statusFile = "status.json"

// wait is for a process that another shim started.
func (p *process) wait() (s reap.Status) {
	if wire.Load(p.file(statusFile), &s) == nil {
		return s
	}
	return p.handle.Wait()
}

// ended is called once for each process, when it has ended. Order matters:
// output is logged and the status is on disk before anybody is told.
func (c *Container) ended(p *process, s reap.Status) {
	exit := wire.Exit{Code: s.Code, Known: s.Known, At: time.Now()}
	if p.id != "" && s.Known {
		if err := wire.Store(p.file(statusFile), s); err != nil {
			note("process %q: store status: %v", p.id, err)
		}
	}
	mishap.Hit(mishap.ShimEnded)
	close(p.gone)
	<-c.ready
	first := p.id == ""
	if first {
		c.killRest()
	}
	if err := p.streams.Finish(grace); err != nil {
		note("process %q: output: %v", p.id, err)
	}
	mishap.Hit(mishap.ShimDrained)
	exit.OOMKilled = first && c.oomKilled()
	if err := wire.Store(filepath.Join(p.dir, wire.ExitFile), exit); err != nil {
		note("process %q: store exit status: %v", p.id, err)
	}
	mishap.Hit(mishap.ShimExit)
	c.mu.Lock()
	p.state = wire.State{Status: wire.Stopped, StartedAt: p.state.StartedAt, Exit: &exit}
	c.mu.Unlock()
	close(p.done)
	if err := p.handle.Close(); err != nil {
		note("process %q: %v", p.id, err)
	}
	c.emit(wire.Event{Kind: wire.Exited, Exec: p.id, At: exit.At, Exit: &exit})
	if first {
		c.forget()
	}
}

// killRest ends processes that outlived the first one, as happens without a
// pid namespace of the container's own.
func (c *Container) killRest() {
	c.mu.Lock()
	g := c.group
	c.mu.Unlock()
	if err := signalAll(g, int(unix.SIGKILL)); err != nil {
		note("kill what is left: %v", err)
	}
}

func (c *Container) oomKilled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.oomWatch != nil {
		if err := c.oomWatch.Close(); err != nil {
			note("close watch: %v", err)
		}
		c.oomWatch = nil
	}
	return c.oom || c.group.OOMKills() > 0
}

// forget has the runtime delete the container as soon as it has stopped, so
// that nobody waits for it later.
func (c *Container) forget() {
	c.command.Lock()
	defer c.command.Unlock()
	c.mu.Lock()
	g := c.group
	c.mu.Unlock()
	err := c.runtime.Delete(c.conf.ID, g)
	mishap.Hit(mishap.ShimForgot)
	c.mu.Lock()
	c.deleteErr = err
	c.mu.Unlock()
	close(c.deleted)
}

// killChildren ends all children of the shim, such as what a killed runtime
// has left.
func killChildren() error {
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	for _, t := range tasks {
		b, rerr := os.ReadFile(t)
		if rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		for f := range strings.FieldsSeq(string(b)) {
			pid, perr := strconv.Atoi(f)
			if perr == nil && pid > 0 {
				perr = unix.Kill(pid, unix.SIGKILL)
			}
			if perr != nil && !errors.Is(perr, unix.ESRCH) {
				err = errors.Join(err, perr)
			}
		}
	}
	return err
}

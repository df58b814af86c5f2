// Package containertest has stand-ins for what the container manager stands
// on, to bring containers into every state at will: an exit at a given moment,
// a driver that hangs, a start that fails. That real drivers behave as these
// do is for the conformance kit and the integration tests to show.
package containertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/runtime"
)

// Runtime is a runtime driver whose processes do what the test says.
type Runtime struct {
	driver.Base
	// Dir is where attach sockets lie.
	Dir string
	// CreateErr, StartErr and ExecErr fail the calls; Away fails Recover and
	// Collect.
	CreateErr, StartErr, ExecErr, Away error
	// Block, if not nil, holds Kill until it is closed.
	Block chan struct{}
	// Creating and Collecting, if not nil, are called before Create and
	// Collect do their work.
	Creating, Collecting func()
	// Dawdling, if not nil, is called before each call that changes a process.
	Dawdling func()

	mu       sync.Mutex
	all      map[runtime.ContainerID]*process // guarded by mu
	execs    map[runtime.ExecID]*process      // guarded by mu
	watchers map[int]func(runtime.Event)      // guarded by mu
	sockets  int                              // guarded by mu
	// Log lists the calls. Guarded by mu; read it with Calls.
	log []string
}

type process struct {
	state   runtime.State
	request runtime.CreateRequest
	exec    runtime.ExecRequest
	conns   []net.Conn
}

var _ runtime.Driver = (*Runtime)(nil)

// NewRuntime makes a Runtime.
func NewRuntime(dir string) *Runtime {
	return &Runtime{
		Dir: dir, all: map[runtime.ContainerID]*process{}, execs: map[runtime.ExecID]*process{},
		watchers: map[int]func(runtime.Event){},
	}
}

// Info implements driver.Driver.
func (r *Runtime) Info(context.Context) (driver.Info, error) {
	return driver.Info{Kind: driver.Runtime, Name: "fake"}, nil
}

// Configure implements driver.Driver.
func (r *Runtime) Configure(context.Context, driver.Config) error { return nil }

func (r *Runtime) dawdle() {
	if r.Dawdling != nil {
		r.Dawdling()
	}
}

func (r *Runtime) note(call string, id runtime.ContainerID) {
	r.log = append(r.log, call+" "+string(id))
}

// Calls returns the calls so far, oldest first.
func (r *Runtime) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.log...)
}

// Request returns what a container was created with.
func (r *Runtime) Request(id string) runtime.CreateRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.all[runtime.ContainerID(id)]; p != nil {
		return p.request
	}
	return runtime.CreateRequest{}
}

// Known says whether the runtime knows the container.
func (r *Runtime) Known(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[runtime.ContainerID(id)] != nil
}

// Exit ends a container's process.
func (r *Runtime) Exit(id string, e runtime.Exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.all[runtime.ContainerID(id)]; p != nil {
		r.exit(p, e)
	}
}

// Repeat tells an exit again, whatever became of the container since.
func (r *Runtime) Repeat(id string, e runtime.Exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.watchers {
		w(runtime.Event{Kind: runtime.ProcessExited, ID: runtime.ContainerID(id), At: e.At, Exit: &e})
	}
}

// exit is called with mu held.
func (r *Runtime) exit(p *process, e runtime.Exit) {
	if p.state.Exit != nil {
		return
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	p.state.Exit, p.state.Status, p.state.Pid = &e, runtime.Stopped, 0
	for _, c := range p.conns {
		_ = c.Close()
	}
	ev := runtime.Event{Kind: runtime.ProcessExited, ID: p.state.ID, Exec: p.state.Exec, At: e.At, Exit: &e}
	for _, w := range r.watchers {
		w(ev)
	}
}

func (r *Runtime) find(id runtime.ContainerID, exec runtime.ExecID) (*process, error) {
	p := r.all[id]
	if exec != "" {
		p = r.execs[exec]
	}
	if p == nil {
		return nil, fmt.Errorf("container %s: no such process: %w", id, errdefs.ErrNotFound)
	}
	return p, nil
}

// Create implements runtime.Lifecycle.
func (r *Runtime) Create(_ context.Context, q runtime.CreateRequest) (driver.Handle, runtime.State, error) {
	if r.Creating != nil {
		r.Creating()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("create", q.ID)
	if r.CreateErr != nil {
		return driver.Handle{}, runtime.State{}, r.CreateErr
	}
	p := &process{state: runtime.State{ID: q.ID, Status: runtime.Created, Pid: os.Getpid()}, request: q}
	r.all[q.ID] = p
	return driver.Handle{Version: 1, State: []byte(q.ID)}, p.state, nil
}

// Start implements runtime.Lifecycle.
func (r *Runtime) Start(_ context.Context, id runtime.ContainerID) (runtime.State, error) {
	r.dawdle()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("start", id)
	if r.StartErr != nil {
		return runtime.State{}, r.StartErr
	}
	p, err := r.find(id, "")
	if err != nil {
		return runtime.State{}, err
	}
	p.state.Status, p.state.StartedAt = runtime.Running, time.Now()
	return p.state, nil
}

// Recover implements runtime.Lifecycle.
func (r *Runtime) Recover(_ context.Context, id runtime.ContainerID, h driver.Handle) (runtime.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("recover", id)
	if r.Away != nil {
		return runtime.State{}, r.Away
	}
	p, err := r.find(id, "")
	if err != nil {
		return runtime.State{}, err
	}
	if string(h.State) != string(id) {
		return runtime.State{}, fmt.Errorf("container %s: foreign handle %q: %w", id, h.State, errdefs.ErrInvalidArgument)
	}
	return p.state, nil
}

// State implements runtime.Lifecycle.
func (r *Runtime) State(_ context.Context, id runtime.ContainerID, exec runtime.ExecID) (runtime.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.find(id, exec)
	if err != nil {
		return runtime.State{}, err
	}
	return p.state, nil
}

// Kill implements runtime.Lifecycle: SIGTERM and SIGKILL end the process.
func (r *Runtime) Kill(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, signal int, _ bool) error {
	r.dawdle()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(fmt.Sprintf("kill -%d", signal), id)
	if block := r.Block; block != nil {
		r.mu.Unlock()
		select {
		case <-block:
		case <-ctx.Done():
		}
		r.mu.Lock()
	}
	p, err := r.find(id, exec)
	if err == nil && (signal == 15 || signal == 9) {
		r.exit(p, runtime.Exit{Code: 128 + signal, Known: true})
	}
	return err
}

// Pause implements runtime.Lifecycle.
func (r *Runtime) Pause(_ context.Context, id runtime.ContainerID) error {
	return r.set("pause", id, runtime.Paused)
}

// Resume implements runtime.Lifecycle.
func (r *Runtime) Resume(_ context.Context, id runtime.ContainerID) error {
	return r.set("resume", id, runtime.Running)
}

func (r *Runtime) set(call string, id runtime.ContainerID, s runtime.Status) error {
	r.dawdle()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(call, id)
	p, err := r.find(id, "")
	if err == nil && p.state.Exit == nil {
		p.state.Status = s
	}
	return err
}

// Update implements runtime.Lifecycle.
func (r *Runtime) Update(_ context.Context, id runtime.ContainerID, _ json.RawMessage) error {
	r.dawdle()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("update", id)
	return nil
}

// Delete implements runtime.Lifecycle.
func (r *Runtime) Delete(_ context.Context, id runtime.ContainerID, _ bool) (*runtime.Exit, error) {
	r.dawdle()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("delete", id)
	p := r.all[id]
	delete(r.all, id)
	if p == nil {
		return nil, nil
	}
	r.exit(p, runtime.Exit{Code: 137, Known: true})
	return p.state.Exit, nil
}

// Collect implements runtime.Lifecycle.
func (r *Runtime) Collect(_ context.Context, keep []runtime.ContainerID) error {
	if r.Collecting != nil {
		r.Collecting()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Away != nil {
		return r.Away
	}
	valid := map[runtime.ContainerID]bool{}
	for _, id := range keep {
		valid[id] = true
	}
	for id := range r.all {
		if !valid[id] {
			delete(r.all, id)
		}
	}
	return nil
}

// Exec implements runtime.Execer. The process runs until it is killed or its
// container ends, unless its first argument is "true": then it is over.
func (r *Runtime) Exec(_ context.Context, q runtime.ExecRequest) (runtime.State, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("exec", q.ID)
	if r.ExecErr != nil {
		return runtime.State{}, "", r.ExecErr
	}
	var spec struct{ Args []string }
	if err := json.Unmarshal(q.Process, &spec); err != nil {
		return runtime.State{}, "", err
	}
	p := &process{state: runtime.State{ID: q.ID, Exec: q.Exec, Status: runtime.Running, Pid: os.Getpid(), StartedAt: time.Now()}, exec: q}
	r.execs[q.Exec] = p
	socket := ""
	if q.Attach != (runtime.StreamSet{}) {
		var err error
		if socket, err = r.listen(p); err != nil {
			return runtime.State{}, "", err
		}
	}
	st := p.state
	if spec.Args[0] == "true" {
		r.exit(p, runtime.Exit{Known: true})
	}
	return st, socket, nil
}

// DeleteExec implements runtime.Execer.
func (r *Runtime) DeleteExec(_ context.Context, _ runtime.ContainerID, exec runtime.ExecID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.execs, exec)
	return nil
}

// Attach implements runtime.Streamer.
func (r *Runtime) Attach(_ context.Context, id runtime.ContainerID, exec runtime.ExecID, _ runtime.StreamSet) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("attach", id)
	p, err := r.find(id, exec)
	if err != nil {
		return "", err
	}
	return r.listen(p)
}

// listen serves one connection that greets. It is called with mu held.
func (r *Runtime) listen(p *process) (string, error) {
	r.sockets++
	path := filepath.Join(r.Dir, fmt.Sprintf("%d.sock", r.sockets))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return "", err
	}
	go func() {
		c, err := l.Accept()
		if err = errors.Join(err, l.Close()); err != nil {
			return
		}
		if _, err := c.Write([]byte("\x01\x00\x00\x00\x00\x00\x00\x05hello")); err != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if p.state.Exit != nil {
			_ = c.Close()
			return
		}
		p.conns = append(p.conns, c)
	}()
	return path, nil
}

// Resize implements runtime.Streamer.
func (r *Runtime) Resize(_ context.Context, id runtime.ContainerID, _ runtime.ExecID, _, _ uint16) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("resize", id)
	return nil
}

// CloseStdin implements runtime.Streamer.
func (r *Runtime) CloseStdin(context.Context, runtime.ContainerID, runtime.ExecID) error { return nil }

// Processes implements runtime.Observer.
func (r *Runtime) Processes(context.Context, runtime.ContainerID) ([]int, error) {
	return []int{1}, nil
}

// Stats implements runtime.Observer.
func (r *Runtime) Stats(context.Context, runtime.ContainerID) (runtime.Stats, error) {
	return runtime.Stats{At: time.Now(), CPU: runtime.CPUStats{Total: 1}}, nil
}

// WatchEvents implements runtime.Observer.
func (r *Runtime) WatchEvents(ctx context.Context, deliver func(runtime.Event)) error {
	r.mu.Lock()
	n := len(r.log) + len(r.watchers) + 1
	r.log = append(r.log, "watch")
	r.watchers[n] = deliver
	for _, p := range r.all {
		if e := p.state.Exit; e != nil {
			deliver(runtime.Event{Kind: runtime.ProcessExited, ID: p.state.ID, At: e.At, Exit: e})
		}
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watchers, n)
	return ctx.Err()
}

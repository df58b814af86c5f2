package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/spec"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/runtime"
)

// execution is an additional process. Executions are kept in memory only:
// their clients do not outlive the daemon either.
type execution struct {
	id      string
	request container.ExecCreateRequest
	keys    []byte
	// What follows is guarded by the unit's mu.
	started bool
	running bool
	pid     int
	code    *int
	done    chan struct{} // closed at its end
	quiet   bool          // a health check: no events
}

// endedExecs is how long an execution that has ended can be inspected.
const endedExecs = 5 * time.Minute

// ExecCreate implements containers.Execer.
func (m *Manager) ExecCreate(_ context.Context, ref string, r container.ExecCreateRequest) (string, error) {
	u, err := m.find(ref)
	if err != nil {
		return "", err
	}
	if len(r.Cmd) == 0 {
		return "", invalid("No exec command specified")
	}
	for _, e := range r.Env {
		if e == "" || strings.HasPrefix(e, "=") {
			return "", invalid("invalid environment variable: %s", e)
		}
	}
	keys, err := m.detachKeys(r.DetachKeys)
	if err != nil {
		return "", err
	}
	rec, err := m.allows(u, opExec)
	if err != nil {
		return "", err
	}
	e := m.addExec(u, r)
	e.keys = keys
	m.publish(rec, execAction(events.ActionExecCreate, e), "execID", e.id)
	return e.id, nil
}

func (m *Manager) addExec(u *unit, r container.ExecCreateRequest) *execution {
	e := &execution{id: newID(), request: r, done: make(chan struct{})}
	u.mu.Lock()
	u.execs[e.id] = e
	u.mu.Unlock()
	m.mu.Lock()
	m.execs[e.id] = u
	m.mu.Unlock()
	return e
}

func (m *Manager) dropExec(id string) {
	m.mu.Lock()
	u := m.execs[id]
	delete(m.execs, id)
	m.mu.Unlock()
	if u == nil {
		return // removed with its container
	}
	u.mu.Lock()
	delete(u.execs, id)
	u.mu.Unlock()
}

// execIDs is called with mu held. Docker shows null for none.
func (u *unit) execIDs() (ids []string) {
	for id, e := range u.execs {
		if !e.quiet && e.code == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// execAction carries the command, as Docker's events do.
func execAction(a events.Action, e *execution) events.Action {
	return a + ": " + events.Action(strings.Join(e.request.Cmd, " "))
}

func (m *Manager) findExec(id string) (*unit, *execution, error) {
	m.mu.RLock()
	u := m.execs[id]
	m.mu.RUnlock()
	if u == nil {
		return nil, nil, refuse(errdefs.ErrNotFound, "No such exec instance: %s", id)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	e := u.execs[id]
	if e == nil {
		return nil, nil, refuse(errdefs.ErrNotFound, "No such exec instance: %s", id)
	}
	return u, e, nil
}

// ExecStart implements containers.Execer.
func (m *Manager) ExecStart(ctx context.Context, id string, r container.ExecStartRequest) (*containers.Attached, error) {
	u, e, err := m.findExec(id)
	if err != nil {
		return nil, err
	}
	rec, err := m.allows(u, opExec)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	again := e.started
	e.started = true
	u.mu.Unlock()
	if again {
		return nil, refuse(errdefs.ErrConflict, "exec %s has already run, or is running", id)
	}
	size := r.ConsoleSize
	if size == nil {
		size = e.request.ConsoleSize
	}
	m.publish(rec, execAction(events.ActionExecStart, e), "execID", e.id)
	conn, err := m.runExec(ctx, u, rec, e, size, !r.Detach)
	if err != nil {
		return nil, err
	}
	if conn == nil {
		return nil, nil
	}
	out := &containers.Attached{Conn: conn, TTY: e.request.Tty}
	if out.TTY {
		out.DetachKeys = e.keys
	}
	return out, nil
}

// runExec starts the process. The stream is nil unless attach.
func (m *Manager) runExec(ctx context.Context, u *unit, rec record, e *execution, size *[2]uint, attach bool) (containers.Stream, error) {
	rt, err := m.runtimeOf(rec)
	if err != nil {
		return nil, err
	}
	process, err := m.execProcess(rec, e.request)
	if err != nil {
		m.execFailed(u, e, codeNotExecutable)
		return nil, err
	}
	req := runtime.ExecRequest{
		ID: runtime.ContainerID(rec.ID), Exec: runtime.ExecID(e.id), Process: process,
		IO: runtime.IO{Terminal: e.request.Tty, Stdin: attach && e.request.AttachStdin, StdinOnce: true},
	}
	if attach {
		req.Attach = runtime.StreamSet{Stdin: e.request.AttachStdin, Stdout: e.request.AttachStdout, Stderr: e.request.AttachStderr}
	}
	if e.request.Tty && size != nil {
		req.IO.Height, req.IO.Width = uint16(size[0]), uint16(size[1]) //nolint:gosec // cells
	}
	bctx, cancel := bounded(ctx)
	defer cancel()
	st, socket, err := rt.Exec(bctx, req)
	if err != nil {
		code := execCode(err)
		m.execFailed(u, e, code)
		return nil, refuse(errdefs.ErrInvalidArgument, "OCI runtime exec failed: %s", plain(err, rec.ID))
	}
	mishap.Hit(mishap.ExecStarted)
	u.mu.Lock()
	e.running, e.pid = e.code == nil, st.Pid
	u.mu.Unlock()
	if st.Exit != nil {
		m.execEnded(rec.ID, e.id, *st.Exit)
	}
	if socket == "" {
		return nil, nil
	}
	conn, err := connect(ctx, rec.ID, socket)
	if err != nil { // its shim died over it: what it wrote is lost, how it ends is not
		return nil, refuse(errdefs.ErrUnavailable, "OCI runtime exec failed: its streams are lost: %s", plain(err, rec.ID))
	}
	return conn, nil
}

func execCode(err error) int {
	if errdefs.IsNotFound(err) {
		return codeNotFound
	}
	return codeNotExecutable
}

func (m *Manager) execProcess(rec record, r container.ExecCreateRequest) (json.RawMessage, error) {
	user, err := execUser(rec, r.User)
	if err != nil {
		return nil, err
	}
	in := spec.Input{ID: rec.ID, Config: rec.Config, Host: rec.Host, Hostname: rec.Config.Hostname, User: user}
	p, err := m.specs.Exec(in, r, user)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("container %s: exec: %w", short(rec.ID), err)
	}
	return raw, nil
}

// execUser resolves a user in the running container.
func execUser(rec record, name string) (u specs.User, err error) {
	if name == "" {
		name = rec.Config.User
	}
	var a accounts
	if !spec.NumericUser(name, rec.Host.GroupAdd) {
		if a, err = accountsInside(rec.Run.Pid); err != nil {
			return u, fmt.Errorf("container %s: look up user: %w", short(rec.ID), err)
		}
	}
	return spec.ResolveUser(name, rec.Host.GroupAdd, a.passwd, a.group)
}

func (m *Manager) execFailed(u *unit, e *execution, code int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e.finish(code)
}

// finish is called with the unit's mu held. It may be called again.
func (e *execution) finish(code int) (first bool) {
	if e.code != nil {
		return false
	}
	e.code, e.running, e.pid = &code, false, 0
	close(e.done)
	return true
}

// execEnded accounts for the end of an execution. It may be told twice.
func (m *Manager) execEnded(containerID, id string, exit runtime.Exit) {
	u, e, err := m.findExec(id)
	if err != nil || u.id != containerID {
		return // of a former daemon
	}
	u.mu.Lock()
	first, r := e.finish(exit.Code), u.rec
	u.mu.Unlock()
	if !first {
		return
	}
	if !e.quiet {
		m.publish(r, events.ActionExecDie, "execID", id, "exitCode", strconv.Itoa(exit.Code))
	}
	m.spawn(func(ctx context.Context) {
		if rt, err := m.runtimeOf(r); err == nil {
			ctx, cancel := context.WithTimeout(ctx, driverTimeout)
			defer cancel()
			if err := rt.DeleteExec(ctx, runtime.ContainerID(r.ID), runtime.ExecID(id)); err != nil && !errdefs.IsNotFound(err) && !errors.Is(err, context.Canceled) {
				m.log.Warn("forget exec", "container", short(r.ID), "exec", short(id), "err", err)
			}
		}
	})
	// By its id: a timer must not keep a container that is removed meanwhile.
	time.AfterFunc(endedExecs, func() { m.dropExec(id) })
}

// endExecs ends the executions of a container whose first process has ended:
// with it the kernel kills all others.
func (m *Manager) endExecs(u *unit) {
	u.mu.Lock()
	var left []string
	for id, e := range u.execs {
		if e.running && e.code == nil {
			left = append(left, id)
		}
	}
	u.mu.Unlock()
	for _, id := range left {
		m.execEnded(u.id, id, runtime.Exit{Code: 137, Known: true, At: time.Now()})
	}
}

// ExecInspect implements containers.Execer.
func (m *Manager) ExecInspect(ctx context.Context, id string) (container.ExecInspectResponse, error) {
	u, e, err := m.findExec(id)
	if err != nil {
		return container.ExecInspectResponse{}, err
	}
	u.awaitExit(ctx, e)
	u.mu.Lock()
	defer u.mu.Unlock()
	r := e.request
	return container.ExecInspectResponse{
		ID: e.id, ContainerID: u.id, Running: e.running, ExitCode: e.code, Pid: e.pid, CanRemove: e.code != nil,
		OpenStdin: r.AttachStdin, OpenStdout: r.AttachStdout, OpenStderr: r.AttachStderr, DetachKeys: e.keys,
		ProcessConfig: &container.ExecProcessConfig{
			Tty: r.Tty, Entrypoint: r.Cmd[0], Arguments: nonNil(r.Cmd[1:]), Privileged: &r.Privileged, User: r.User,
		},
	}, nil
}

// exitNews is how long the news of an exit may be on its way.
const exitNews = 2 * time.Second

// awaitExit waits for the exit code of a process that is gone: clients ask for
// it as soon as the output ends, which is before the news arrives.
func (u *unit) awaitExit(ctx context.Context, e *execution) {
	u.mu.Lock()
	pid := e.pid
	u.mu.Unlock()
	if pid == 0 || running(pid) {
		return
	}
	t := time.NewTimer(exitNews)
	defer t.Stop()
	select {
	case <-e.done:
	case <-ctx.Done():
	case <-t.C:
	}
}

// running says whether a process exists and is no zombie.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(b, []byte(") "))
	return !bytes.HasPrefix(after, []byte("Z"))
}

// ExecResize implements containers.Execer.
func (m *Manager) ExecResize(ctx context.Context, id string, height, width uint16) error {
	u, e, err := m.findExec(id)
	if err != nil {
		return err
	}
	u.mu.Lock()
	running := e.running
	u.mu.Unlock()
	if !running {
		return refuse(errdefs.ErrConflict, "cannot resize a stopped exec: %s", id)
	}
	return m.resize(ctx, u.get(), e.id, height, width)
}

// Resize implements containers.Streamer.
func (m *Manager) Resize(ctx context.Context, ref string, height, width uint16) error {
	u, err := m.find(ref)
	if err != nil {
		return err
	}
	r, err := m.allows(u, opResize)
	if err != nil {
		return err
	}
	if err := m.resize(ctx, r, "", height, width); err != nil {
		return err
	}
	m.publish(r, events.ActionResize, "height", strconv.Itoa(int(height)), "width", strconv.Itoa(int(width)))
	return nil
}

func (m *Manager) resize(ctx context.Context, r record, exec string, height, width uint16) error {
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	if err := rt.Resize(ctx, runtime.ContainerID(r.ID), runtime.ExecID(exec), width, height); err != nil {
		return fmt.Errorf("container %s: resize: %w", short(r.ID), err)
	}
	return nil
}

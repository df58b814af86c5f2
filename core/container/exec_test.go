package container_test

import (
	"io"
	memory "runtime"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/sdk/runtime"
)

func TestExecFromCreateToExitCode(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "web")
	ctx := t.Context()
	ask := apicontainer.ExecCreateRequest{Cmd: []string{"true", "-v"}, AttachStdout: true}
	if _, err := w.ExecCreate(ctx, id, ask); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "is not running") {
		t.Errorf("before the start: %v", err)
	}
	w.start(t, id)
	exec, err := w.ExecCreate(ctx, id, ask)
	if err != nil {
		t.Fatal(err)
	}
	i, err := w.ExecInspect(ctx, exec)
	if err != nil || i.Running || i.ExitCode != nil || i.ProcessConfig.Entrypoint != "true" || i.ProcessConfig.Arguments[0] != "-v" {
		t.Errorf("created: %+v, %v", i, err)
	}
	a, err := w.ExecStart(ctx, exec, apicontainer.ExecStartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(a.Conn)
	if err != nil || !strings.HasSuffix(string(b), "hello") {
		t.Errorf("output %q, %v", b, err)
	}
	if err := a.Conn.Close(); err != nil {
		t.Error(err)
	}
	until(t, "its exit is known", func() bool {
		i, err := w.ExecInspect(ctx, exec)
		return err == nil && i.ExitCode != nil && *i.ExitCode == 0
	})
	if _, err := w.ExecStart(ctx, exec, apicontainer.ExecStartRequest{}); !errdefs.IsConflict(err) {
		t.Errorf("started again: %v", err)
	}
	if _, err := w.ExecInspect(ctx, "nobody"); !errdefs.IsNotFound(err) {
		t.Errorf("unknown: %v", err)
	}
}

func TestExecsEndWithTheirContainer(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "web")
	w.start(t, id)
	exec, err := w.ExecCreate(t.Context(), id, apicontainer.ExecCreateRequest{Cmd: []string{"sleep"}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.ExecStart(t.Context(), exec, apicontainer.ExecStartRequest{Detach: true})
	if err != nil || a != nil {
		t.Fatalf("detached: %v, %v", a, err)
	}
	w.run.Exit(id, runtime.Exit{Known: true})
	until(t, "it ends", func() bool {
		i, err := w.ExecInspect(t.Context(), exec)
		return err == nil && i.ExitCode != nil && !i.Running
	})
}

func TestExecThatCannotRun(t *testing.T) {
	for class, code := range map[error]int{errdefs.ErrNotFound: 127, errdefs.ErrPermissionDenied: 126} {
		w := newWorld(t)
		id := w.create(t, "web")
		w.start(t, id)
		w.run.ExecErr = class
		exec, err := w.ExecCreate(t.Context(), id, apicontainer.ExecCreateRequest{Cmd: []string{"nosuch"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.ExecStart(t.Context(), exec, apicontainer.ExecStartRequest{}); err == nil {
			t.Error("it started")
		}
		i, err := w.ExecInspect(t.Context(), exec)
		if err != nil || i.ExitCode == nil || *i.ExitCode != code {
			t.Errorf("%v: %+v, %v", class, i, err)
		}
	}
}

func TestAttachBeforeTheStartMissesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "web")
	a, err := w.Attach(t.Context(), id, containers.AttachOptions{Stream: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		b, err := io.ReadAll(a.Conn)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}()
	w.start(t, id)
	calls := w.run.Calls()
	order := strings.Join(calls, ", ")
	if strings.Index(order, "attach") > strings.Index(order, "start") || !strings.Contains(order, "attach") {
		t.Errorf("attached too late: %s", order)
	}
	until(t, "the stream is served", func() bool { w.run.Exit(id, runtime.Exit{Known: true}); return true })
	if s := <-got; !strings.HasSuffix(s, "hello") {
		t.Errorf("got %q", s)
	}
	if err := a.Conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestAttachedClientsOfARemovedContainerAreReleased(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "web")
	a, err := w.Attach(t.Context(), id, containers.AttachOptions{Stream: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Remove(t.Context(), id, containers.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(a.Conn); err != nil || len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	if err := a.Conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestDetachKeys(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "tty", func(r *apicontainer.CreateRequest) { r.Tty = true })
	for keys, want := range map[string]string{"": "\x10\x11", "ctrl-x,a": "\x18a"} {
		a, err := w.Attach(t.Context(), id, containers.AttachOptions{Stream: true, DetachKeys: keys})
		if err != nil || string(a.DetachKeys) != want || !a.TTY {
			t.Errorf("%q: %q, %v", keys, a.DetachKeys, err)
		}
		if err := a.Conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.Attach(t.Context(), id, containers.AttachOptions{DetachKeys: "ctrl-?"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v", err)
	}
}

// An execution can be inspected for a while after its end, and must not keep its
// container for as long.
func TestWhatIsRemovedIsForgotten(t *testing.T) {
	w := newWorld(t)
	live := func() int64 {
		var m memory.MemStats
		memory.GC()
		memory.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const n, size = 30, 1 << 20
	before := live()
	for range n {
		id := w.create(t, "big", func(r *apicontainer.CreateRequest) { r.Config.Env = []string{"X=" + strings.Repeat("x", size)} })
		w.start(t, id)
		exec, err := w.ExecCreate(t.Context(), id, apicontainer.ExecCreateRequest{Cmd: []string{"true"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.ExecStart(t.Context(), exec, apicontainer.ExecStartRequest{Detach: true}); err != nil {
			t.Fatal(err)
		}
		w.run.Exit(id, runtime.Exit{Known: true}) // and with it the execution
		until(t, "the execution is over", func() bool {
			i, err := w.ExecInspect(t.Context(), exec)
			return err == nil && i.ExitCode != nil
		})
		if err := w.Remove(t.Context(), id, containers.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if grown := live() - before; grown > n*size/3 {
		t.Errorf("%d containers of %d bytes were made and removed, and %d bytes are kept", n, size, grown)
	}
}

package conformance

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/runtime"
)

func execCases() []runtimeCase {
	return []runtimeCase{
		{"an exec's output goes to its client, whole, and its exit is told", execOutput},
		{"an exec takes input, which ends with its client's", execInput},
		{"an exec has a terminal of its own", execTerminal},
		{"an exec of a command that does not exist is not found", execMissing},
		{"an exec can be killed; DeleteExec forgets what has ended", execKill},
		{"Exec may be repeated", execRepeated},
		{"execs end with their container, and are told", execEndsWithContainer},
		{"exec needs a running container", execNeedsRunning},
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func errorAfter(err error, text string) error { return errors.Join(errors.New(text), err) }

// execRequest asks for an exec of a shell script.
func (l *runtimeLab) execRequest(b *box, id runtime.ExecID, script string) runtime.ExecRequest {
	return l.execArgs(b, id, runtime.IO{}, "sh", "-c", script)
}

func (l *runtimeLab) execArgs(b *box, id runtime.ExecID, io runtime.IO, args ...string) runtime.ExecRequest {
	p, err := json.Marshal(ociProcess(io.Terminal, args...))
	l.NoError(err, "encode process")
	return runtime.ExecRequest{ID: b.id, Exec: id, Process: p, IO: io}
}

// exec starts an exec and connects to it.
func (l *runtimeLab) exec(r runtime.ExecRequest, want runtime.StreamSet) *client {
	r.Attach = want
	st, path, err := l.d.Exec(l.ctx, r)
	l.NoError(err, "exec")
	if st.ID != r.ID || st.Exec != r.Exec {
		l.Errorf("state of exec %s: %+v", r.Exec, st)
	}
	return l.connect(path, r.IO.Terminal)
}

func execOutput(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	c := l.exec(l.execRequest(b, "x", "seq 1 20000; sleep 0.1; echo err >&2; exit 9"), outputs)
	c.expect(1, numbers(1, 20000))
	c.expect(2, "err\n")
	c.end()
	if e := l.wait(b, "x"); e.Code != 9 || !e.Known {
		l.Errorf("exit: %+v", e)
	}
	l.logIs(b)
	st, path, err := l.d.Exec(l.ctx, l.execRequest(b, "quiet", "echo nobody listens; exit 2"))
	l.NoError(err, "exec without a client")
	if path != "" || st.StartedAt.IsZero() {
		l.Errorf("exec without a client: %q, %+v", path, st)
	}
	if e := l.wait(b, "quiet"); e.Code != 2 {
		l.Errorf("exit: %+v", e)
	}
	l.status(b, runtime.Running)
}

func execInput(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	c := l.exec(l.execArgs(b, "x", runtime.IO{Stdin: true, StdinOnce: true}, "cat"), streams)
	c.send("some text")
	c.closeWrite()
	c.expect(1, "some text")
	c.end()
	if e := l.wait(b, "x"); e.Code != 0 {
		l.Errorf("exit: %+v", e)
	}
	_, _, err := l.d.Exec(l.ctx, l.execArgs(b, "y", runtime.IO{Stdin: true}, "cat"))
	l.NoError(err, "exec")
	c = l.attach(b, "y", streams, false)
	c.send("more")
	c.expect(1, "more")
	l.NoError(l.d.CloseStdin(l.ctx, b.id, "y"), "close stdin")
	c.end()
	l.wait(b, "y")
}

func execTerminal(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	c := l.exec(l.execArgs(b, "x", runtime.IO{Terminal: true, Stdin: true, Width: 77, Height: 33}, "sh", "-c", "read a; stty size; exit 4"), streams)
	l.NoError(l.d.Resize(l.ctx, b.id, "x", 66, 22), "resize")
	c.send("go\n")
	c.expect(0, "go\r\n22 66\r\n")
	c.end()
	if e := l.wait(b, "x"); e.Code != 4 {
		l.Errorf("exit: %+v", e)
	}
}

func execMissing(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	_, _, err := l.d.Exec(l.ctx, l.execArgs(b, "x", runtime.IO{}, "no-such-command"))
	l.ErrorIs(err, errdefs.ErrNotFound, "exec")
	if !strings.Contains(err.Error(), `exec: "no-such-command"`) {
		l.Errorf("the error does not name the command: %w", err)
	}
	_, _, err = l.d.Exec(l.ctx, l.execArgs(b, "y", runtime.IO{}, "/etc/plain"))
	l.ErrorIs(err, errdefs.ErrPermissionDenied, "exec")
	_, err = l.d.State(l.ctx, b.id, "x")
	l.ErrorIs(err, errdefs.ErrNotFound, "state of an exec that did not start")
	l.logIs(b)
}

func execKill(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	_, _, err := l.d.Exec(l.ctx, l.execArgs(b, "x", runtime.IO{}, "sleep", "1000"))
	l.NoError(err, "exec")
	l.ErrorIs(l.d.DeleteExec(l.ctx, b.id, "x"), errdefs.ErrFailedPrecondition, "delete a running exec")
	l.NoError(l.d.Kill(l.ctx, b.id, "x", 15, false), "kill")
	if e := l.wait(b, "x"); e.Code != 143 {
		l.Errorf("exit: %+v", e)
	}
	for range Repeats {
		l.NoError(l.d.DeleteExec(l.ctx, b.id, "x"), "delete exec")
	}
	_, err = l.d.State(l.ctx, b.id, "x")
	l.ErrorIs(err, errdefs.ErrNotFound, "state of a deleted exec")
	l.NoError(l.d.DeleteExec(l.ctx, "no-such-container", "x"), "delete an exec of nothing")
	l.ErrorIs(l.d.Kill(l.ctx, b.id, "z", 15, false), errdefs.ErrNotFound, "kill an unknown exec")
}

func execRepeated(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	r := l.execArgs(b, "x", runtime.IO{}, "sleep", "1000")
	first, _, err := l.d.Exec(l.ctx, r)
	l.NoError(err, "exec")
	for range 2 {
		again, _, err := l.d.Exec(l.ctx, r)
		l.NoError(err, "exec again")
		if again.Pid != first.Pid {
			l.Fatalf("another process: %+v after %+v", again, first)
		}
	}
}

func execEndsWithContainer(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	_, _, err := l.d.Exec(l.ctx, l.execArgs(b, "x", runtime.IO{}, "sleep", "1000"))
	l.NoError(err, "exec")
	l.NoError(l.d.Kill(l.ctx, b.id, "", 9, false), "kill")
	l.wait(b, "")
	if e := l.wait(b, "x"); e.Code != 137 || !e.Known {
		l.Errorf("exit of exec: %+v", e)
	}
}

func execNeedsRunning(l *runtimeLab) {
	b := l.create(box{script: "true"})
	_, _, err := l.d.Exec(l.ctx, l.execRequest(b, "x", "true"))
	l.ErrorIs(err, errdefs.ErrFailedPrecondition, "exec before start")
	_, err = l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	l.wait(b, "")
	_, _, err = l.d.Exec(l.ctx, l.execRequest(b, "x", "true"))
	l.ErrorIs(err, errdefs.ErrFailedPrecondition, "exec after exit")
}

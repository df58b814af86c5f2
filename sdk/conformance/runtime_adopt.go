package conformance

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/runtime"
)

// adoptCases kill what keeps the containers.
func adoptCases(env RuntimeEnv) []runtimeCase {
	if env.KillMonitor == nil {
		return nil
	}
	return []runtimeCase{
		{"no log line is lost or doubled when the monitor dies while lines come", adoptLog},
		{"the exit code is true although the monitor died before it", adoptExit},
		{"an exit while there is no monitor, and all output before it, is told", adoptLateExit},
		{"standard input stays open when the monitor dies, and can be closed", adoptInput},
		{"a terminal outlives its monitor", adoptTerminal},
		{"an exec outlives the monitor, and its exit is told", adoptExec},
		{"a paused and a created container outlive the monitor", adoptStatus},
		{"a start fails when the process died with the monitor before it", adoptNeverStarted},
		{"a container outlives monitor and driver", adoptAfterDriver},
		{"exits are told although their monitor died after them", adoptStopped},
	}
}

// killMonitor kills a monitor, once there is one.
func (l *runtimeLab) killMonitor(b *box) {
	l.state(b, "")
	l.NoError(l.env.KillMonitor(b.id), "kill the monitor")
}

// grown waits until the log has at least so many bytes.
func (l *runtimeLab) grown(b *box, size int64) {
	eventually(l.T, 20*time.Second, "the log grows", func() error {
		st, err := os.Stat(b.io.Log.Path)
		if err == nil && st.Size() < size {
			err = errorAfter(nil, "too short")
		}
		return err
	})
}

func adoptLog(l *runtimeLab) {
	const lines = 200000
	b := l.run(box{script: "seq 1 " + itoa(lines) + "; read line < /go", fifo: "/go"})
	for i := range 4 {
		l.grown(b, int64(1+i*2000000))
		l.killMonitor(b)
	}
	b.write("\n")
	l.wait(b, "")
	l.counts(b, lines)
}

func adoptExit(l *runtimeLab) {
	b := l.run(box{script: "read line < /go; echo bye; exit 7", fifo: "/go"})
	started := l.state(b, "").StartedAt
	l.killMonitor(b)
	if st := l.state(b, ""); st.Status != runtime.Running || !st.StartedAt.Equal(started) {
		l.Errorf("after the monitor's death: %+v", st)
	}
	b.write("\n")
	if e := l.wait(b, ""); e.Code != 7 || !e.Known {
		l.Errorf("exit: %+v", e)
	}
	l.logIs(b, "stdout: bye\n")
	b = l.run(box{script: "sleep 1000"})
	l.killMonitor(b)
	l.NoError(l.d.Kill(l.ctx, b.id, "", 9, false), "kill")
	if e := l.wait(b, ""); e.Code != 137 || !e.Known {
		l.Errorf("killed: %+v", e)
	}
}

func adoptLateExit(l *runtimeLab) {
	b := l.run(box{script: "echo one; read line < /go; echo two; echo three >&2; exit 7", fifo: "/go"})
	l.until(b, "one")
	pid := l.state(b, "").Pid
	l.killMonitor(b)
	b.write("\n") // mostly before another monitor is there
	if e := l.wait(b, ""); e.Code != 7 || !e.Known {
		l.Errorf("exit of %d: %+v", pid, e)
	}
	all := l.log(b.io.Log.Path)
	if len(all) != 3 {
		l.Errorf("log: %+v", all)
	}
}

func adoptNeverStarted(l *runtimeLab) {
	b := l.create(box{script: "exit 0"})
	pid := l.state(b, "").Pid
	l.NoError(l.env.KillMonitor(b.id), "kill the monitor")
	l.NoError(unix.Kill(pid, unix.SIGKILL), "kill the process that waits") // mostly before another monitor is there
	if _, err := l.d.Start(l.ctx, b.id); err == nil {
		l.Errorf("the start of a process that died before it is told to have succeeded: %+v", l.state(b, ""))
	}
}

func adoptInput(l *runtimeLab) {
	b := l.run(box{script: "cat; echo end", io: runtime.IO{Stdin: true}})
	c := l.attach(b, "", streams, false)
	c.send("before\n")
	c.expect(1, "before\n")
	l.killMonitor(b)
	c = l.attach(b, "", streams, false)
	c.send("after\n")
	c.expect(1, "after\n")
	l.NoError(l.d.CloseStdin(l.ctx, b.id, ""), "close stdin")
	c.expect(1, "end\n")
	l.wait(b, "")
	l.logIs(b, "stdout: before\n", "stdout: after\n", "stdout: end\n")
}

func adoptTerminal(l *runtimeLab) {
	b := l.run(box{script: "while read a; do stty size; done", io: runtime.IO{Terminal: true, Stdin: true, Width: 80, Height: 24}})
	l.NoError(l.d.Resize(l.ctx, b.id, "", 70, 20), "resize")
	for range 2 {
		l.killMonitor(b)
		c := l.attach(b, "", streams, true)
		c.send("x\n")
		c.expect(0, "x\r\n20 70\r\n")
		c.close()
	}
	l.NoError(l.d.CloseStdin(l.ctx, b.id, ""), "close stdin")
	if e := l.wait(b, ""); e.Code != 0 || !e.Known {
		l.Errorf("exit: %+v", e)
	}
}

func adoptExec(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000", fifo: "/go"})
	_, _, err := l.d.Exec(l.ctx, l.execRequest(b, "x", "seq 1 20000; read line < /go; exit 5"))
	l.NoError(err, "exec")
	_, _, err = l.d.Exec(l.ctx, l.execRequest(b, "y", "exit 6"))
	l.NoError(err, "exec")
	l.wait(b, "y")
	l.killMonitor(b)
	b.write("\n")
	if e := l.wait(b, "x"); e.Code != 5 || !e.Known {
		l.Errorf("exit: %+v", e)
	}
	if e := l.wait(b, "y"); e.Code != 6 || !e.Known {
		l.Errorf("exit before the death: %+v", e)
	}
	c := l.exec(l.execRequest(b, "z", "echo fine"), outputs)
	c.expect(1, "fine\n")
	c.end()
	l.wait(b, "z")
}

func adoptStatus(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	l.NoError(l.d.Pause(l.ctx, b.id), "pause")
	l.killMonitor(b)
	l.status(b, runtime.Paused)
	l.NoError(l.d.Resume(l.ctx, b.id), "resume")
	l.status(b, runtime.Running)
	b = l.create(box{script: "echo hello; exit 3"})
	l.killMonitor(b)
	l.status(b, runtime.Created)
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	if e := l.wait(b, ""); e.Code != 3 || !e.Known {
		l.Errorf("exit: %+v", e)
	}
	l.logIs(b, "stdout: hello\n")
}

func adoptAfterDriver(l *runtimeLab) {
	b := l.run(box{script: "seq 1 20000; read line < /go; exit 7", fifo: "/go"})
	l.killMonitor(b)
	l.crash()
	l.recover(b, runtime.Running)
	b.write("\n")
	if e := l.wait(b, ""); e.Code != 7 || !e.Known {
		l.Errorf("exit: %+v", e)
	}
	l.counts(b, 20000)
}

func adoptStopped(l *runtimeLab) {
	b := l.run(box{script: "read line < /go; exit 7", fifo: "/go"})
	_, _, err := l.d.Exec(l.ctx, l.execRequest(b, "x", "exit 4"))
	l.NoError(err, "exec")
	l.wait(b, "x")
	b.write("\n")
	l.wait(b, "")
	l.killMonitor(b)
	l.crash()
	for exec, code := range map[runtime.ExecID]int{"": 7, "x": 4} {
		if e := l.wait(b, exec); e.Code != code || !e.Known {
			l.Errorf("exit of %q: %+v", exec, e)
		}
	}
	l.recover(b, runtime.Stopped)
	e, err := l.d.Delete(l.ctx, b.id, false)
	l.NoError(err, "delete")
	if e == nil || e.Code != 7 {
		l.Errorf("Delete returned %+v", e)
	}
	l.gone(b)
}

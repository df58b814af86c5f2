package conformance

import (
	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/runtime"
)

func recoverCases() []runtimeCase {
	return []runtimeCase{
		{"a created container is recovered and started", recoverCreated},
		{"a running container is recovered: log, input, execs, exit go on", recoverRunning},
		{"a paused container is recovered paused", recoverPaused},
		{"an exit while no driver was there is recovered", recoverExited},
		{"a watcher that comes late is told of all exits", lateWatcher},
		{"Recover of what is unknown is not found", recoverUnknown},
		{"Recover may be repeated", recoverRepeated},
		{"a deleted container stays deleted over a relaunch", recoverDeleted},
	}
}

func (l *runtimeLab) recover(b *box, want runtime.Status) runtime.State {
	st, err := l.d.Recover(l.ctx, b.id, b.handle)
	l.NoError(err, "recover")
	if st.Status != want || st.ID != b.id {
		l.Fatalf("recovered as %+v, want status %s", st, want)
	}
	return st
}

func recoverCreated(l *runtimeLab) {
	b := l.create(box{script: "echo hello; exit 6"})
	l.crash()
	l.recover(b, runtime.Created)
	c := l.attach(b, "", outputs, false)
	_, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	c.expect(1, "hello\n")
	c.end()
	if e := l.wait(b, ""); e.Code != 6 {
		l.Errorf("exit: %+v", e)
	}
}

func recoverRunning(l *runtimeLab) {
	b := l.run(box{script: `i=0; while read line; do echo $line; done; exit 8`, io: runtime.IO{Stdin: true}})
	before := l.state(b, "")
	c := l.attach(b, "", streams, false)
	c.send("before\n")
	c.expect(1, "before\n")
	l.crash()
	after := l.recover(b, runtime.Running)
	if after.Pid != before.Pid || !after.StartedAt.Equal(before.StartedAt) {
		l.Errorf("recovered as %+v, was %+v", after, before)
	}
	c.send("after\n") // the client's connection is to the shim
	c.expect(1, "after\n")
	x := l.exec(l.execRequest(b, "x", "echo exec"), outputs)
	x.expect(1, "exec\n")
	x.end()
	l.wait(b, "x")
	l.crash()
	l.recover(b, runtime.Running)
	l.NoError(l.d.CloseStdin(l.ctx, b.id, ""), "close stdin")
	if e := l.wait(b, ""); e.Code != 8 {
		l.Errorf("exit: %+v", e)
	}
	if st := l.state(b, "x"); st.Exit == nil || st.Exit.Code != 0 {
		l.Errorf("exec after the driver's death: %+v", st)
	}
	l.logIs(b, "stdout: before\n", "stdout: after\n")
}

func recoverPaused(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	l.NoError(l.d.Pause(l.ctx, b.id), "pause")
	l.crash()
	l.recover(b, runtime.Paused)
	l.NoError(l.d.Resume(l.ctx, b.id), "resume")
	l.recover(b, runtime.Running)
}

func recoverExited(l *runtimeLab) {
	b := l.run(box{script: `read line < /go; echo bye; exit 9`, fifo: "/go"})
	_, _, err := l.d.Exec(l.ctx, l.execRequest(b, "x", "exit 4"))
	l.NoError(err, "exec")
	l.wait(b, "x")
	if l.subject.Kill != nil { // the end comes while the driver is being killed
		go b.write("\n")
	} else {
		b.write("\n")
	}
	l.crash()
	l.wait(b, "")
	st := l.recover(b, runtime.Stopped)
	if st.Exit.Code != 9 || !st.Exit.Known || st.Exit.At.IsZero() {
		l.Errorf("exit: %+v", st.Exit)
	}
	if st := l.state(b, "x"); st.Exit == nil || st.Exit.Code != 4 {
		l.Errorf("exec: %+v", st)
	}
	l.logIs(b, "stdout: bye\n")
	e, err := l.d.Delete(l.ctx, b.id, false)
	l.NoError(err, "delete")
	if e == nil || e.Code != 9 {
		l.Errorf("Delete returned %+v", e)
	}
}

func lateWatcher(l *runtimeLab) {
	one, two := l.run(box{script: "exit 1"}), l.run(box{script: "exit 2"})
	for range 2 {
		for b, code := range map[*box]int{one: 1, two: 2} {
			if e := l.wait(b, ""); e.Code != code {
				l.Errorf("exit: %+v, want %d", e, code)
			}
		}
		l.crash()
	}
}

func recoverUnknown(l *runtimeLab) {
	b := l.create(box{script: "true"})
	_, err := l.d.Recover(l.ctx, "no-such-container", b.handle)
	l.ErrorIs(err, errdefs.ErrNotFound, "recover")
}

func recoverRepeated(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	for range Repeats {
		l.recover(b, runtime.Running)
	}
}

func recoverDeleted(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	_, err := l.d.Delete(l.ctx, b.id, true)
	l.NoError(err, "delete")
	l.crash()
	_, err = l.d.Recover(l.ctx, b.id, b.handle)
	l.ErrorIs(err, errdefs.ErrNotFound, "recover a deleted container")
	l.gone(b)
}

func collectCases() []runtimeCase {
	return []runtimeCase{
		{"Collect removes what is not named, and nothing else", collectContainers},
	}
}

func collectContainers(l *runtimeLab) {
	keep, drop, stopped := l.run(box{script: "sleep 1000"}), l.run(box{script: "sleep 1000"}), l.run(box{script: "true"})
	l.wait(stopped, "")
	l.crash()
	for range 2 {
		l.NoError(l.d.Collect(l.ctx, []runtime.ContainerID{keep.id}), "collect")
	}
	l.recover(keep, runtime.Running)
	for _, b := range []*box{drop, stopped} {
		l.gone(b)
	}
}

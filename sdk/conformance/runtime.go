package conformance

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/runtime"
)

// RuntimeEnv is what the cases for runtime drivers need to know beyond the
// driver. The process that runs them must be root, on the driver's machine.
type RuntimeEnv struct {
	// Busybox is the path of a static busybox; by default it is looked up in
	// PATH.
	Busybox string
	// CgroupParent is a cgroup of the suite's own, for example "/my-test-7". It
	// is removed after each case.
	CgroupParent string
	// KillMonitor ends the process that keeps a container, and returns when it
	// is dead. The driver is to have the container kept on. Nil leaves out the
	// cases that need it.
	KillMonitor func(id runtime.ContainerID) error
}

// RuntimeCases are the demands of the runtime contract. The cases run real
// containers from bundles that they make. They may run in parallel.
func RuntimeCases(s Subject[runtime.Driver], env RuntimeEnv) []Case {
	var all []Case
	for _, group := range [][]runtimeCase{
		lifecycleCases(), logCases(), streamCases(), execCases(), limitCases(), usernsCases(), recoverCases(), collectCases(), adoptCases(env),
	} {
		for _, c := range group {
			all = append(all, Case{Name: c.name, Run: func(t *T) { c.run(newRuntimeLab(t, s, env)) }})
		}
	}
	return all
}

type runtimeCase struct {
	name string
	run  func(l *runtimeLab)
}

func lifecycleCases() []runtimeCase {
	return []runtimeCase{
		{"a container goes from created over running to stopped and is gone", lifecycle},
		{"Create, Start and Delete may be repeated", repeatedLifecycle},
		{"each container has a handle of its own, or an empty one", handlesOfTheirOwn},
		{"an exit code is told as it is, a signal as 128 and its number", exitCodes},
		{"unknown containers are not found, but can be deleted", unknownContainers},
		{"a command that does not exist is not found, and leaves nothing", missingCommand},
		{"a command that may not be executed is a denied permission", deniedCommand},
		{"a bundle without a config is an invalid argument, and leaves nothing", badBundle},
		{"Delete needs force for a container that has not stopped", deleteForce},
		{"Pause freezes and Resume thaws", pauseAndResume},
		{"a frozen container can be killed", killFrozen},
		{"Kill reaches one process or all", killOneOrAll},
		{"root file system mounts are the container's alone", mountsArePrivate},
	}
}

func lifecycle(l *runtimeLab) {
	b := l.create(box{script: `echo hello; read line < /go; exit 7`, fifo: "/go"})
	l.status(b, runtime.Created)
	st, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	if st.Status != runtime.Running || st.Pid == 0 || st.StartedAt.IsZero() || st.ID != b.id {
		l.Errorf("after Start: %+v", st)
	}
	l.status(b, runtime.Running)
	b.write("\n")
	if e := l.wait(b, ""); e.Code != 7 || !e.Known || e.At.IsZero() || e.OOMKilled {
		l.Errorf("exit: %+v", e)
	}
	l.status(b, runtime.Stopped)
	_, err = l.d.Start(l.ctx, b.id)
	l.ErrorIs(err, errdefs.ErrFailedPrecondition, "start a stopped container")
	if !strings.Contains(err.Error(), string(runtime.Stopped)) {
		l.Errorf("the error does not name the status: %w", err)
	}
	l.ErrorIs(l.d.Pause(l.ctx, b.id), errdefs.ErrFailedPrecondition, "pause a stopped container")
	_, err = l.d.Stats(l.ctx, b.id)
	l.ErrorIs(err, errdefs.ErrFailedPrecondition, "statistics of a stopped container")
	e, err := l.d.Delete(l.ctx, b.id, false)
	l.NoError(err, "delete")
	if e == nil || e.Code != 7 {
		l.Errorf("Delete returned exit %+v", e)
	}
	_, err = l.d.State(l.ctx, b.id, "")
	l.ErrorIs(err, errdefs.ErrNotFound, "state after delete")
	l.logIs(b, "stdout: hello\n")
}

func repeatedLifecycle(l *runtimeLab) {
	b := l.create(box{script: `sleep 1000`})
	for range Repeats {
		_, st, err := l.d.Create(l.ctx, b.request)
		l.NoError(err, "create again")
		if st.Status != runtime.Created {
			l.Fatalf("created again: %+v", st)
		}
	}
	first, err := l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	for range Repeats {
		st, err := l.d.Start(l.ctx, b.id)
		l.NoError(err, "start again")
		if st.Status != runtime.Running || st.Pid != first.Pid || !st.StartedAt.Equal(first.StartedAt) {
			l.Fatalf("started again: %+v, first %+v", st, first)
		}
	}
	for range Repeats {
		l.NoError(l.d.Kill(l.ctx, b.id, "", 9, false), "kill")
	}
	l.wait(b, "")
	l.NoError(l.d.Kill(l.ctx, b.id, "", 9, false), "kill what is gone")
	for range Repeats {
		_, err = l.d.Delete(l.ctx, b.id, false)
		l.NoError(err, "delete")
	}
}

func exitCodes(l *runtimeLab) {
	for script, want := range map[string]int{
		"exit 0": 0, "exit 255": 255, "kill -TERM $$": 0, "trap 'exit 3' TERM; kill -TERM $$": 3,
	} {
		if script == "kill -TERM $$" { // without a handler, init is immune to itself
			continue
		}
		if e := l.wait(l.run(box{script: script}), ""); e.Code != want || !e.Known {
			l.Errorf("%s: %+v, want code %d", script, e, want)
		}
	}
	b := l.run(box{script: "exec sleep 1000"})
	l.NoError(l.d.Kill(l.ctx, b.id, "", 9, false), "kill")
	if e := l.wait(b, ""); e.Code != 137 || !e.Known {
		l.Errorf("killed: %+v, want code 137", e)
	}
}

func handlesOfTheirOwn(l *runtimeLab) {
	a, b := l.create(box{script: `true`}), l.create(box{script: `true`})
	if len(a.handle.State) > 0 && bytes.Equal(a.handle.State, b.handle.State) {
		l.Errorf("two containers have the handle %q", a.handle.State)
	}
}

func unknownContainers(l *runtimeLab) {
	const id = "no-such-container"
	_, err := l.d.Start(l.ctx, id)
	l.ErrorIs(err, errdefs.ErrNotFound, "start")
	_, err = l.d.State(l.ctx, id, "")
	l.ErrorIs(err, errdefs.ErrNotFound, "state")
	_, err = l.d.Attach(l.ctx, id, "", runtime.StreamSet{Stdout: true})
	l.ErrorIs(err, errdefs.ErrNotFound, "attach")
	l.ErrorIs(l.d.Kill(l.ctx, id, "", 9, false), errdefs.ErrNotFound, "kill")
	l.ErrorIs(l.d.Pause(l.ctx, id), errdefs.ErrNotFound, "pause")
	_, err = l.d.Processes(l.ctx, id)
	l.ErrorIs(err, errdefs.ErrNotFound, "processes")
	e, err := l.d.Delete(l.ctx, id, false)
	l.NoError(err, "delete")
	if e != nil {
		l.Errorf("Delete made up an exit: %+v", e)
	}
	for _, bad := range []runtime.ContainerID{"", "a/b", "..", runtime.ContainerID(strings.Repeat("x", 65))} {
		_, _, err := l.d.Create(l.ctx, runtime.CreateRequest{ID: bad, Bundle: l.TempDir()})
		l.ErrorIs(err, errdefs.ErrInvalidArgument, fmt.Sprintf("create %q", bad))
	}
}

func missingCommand(l *runtimeLab) {
	for _, command := range []string{"no-such-command", "/no/such/command"} {
		b := l.bundle(box{args: []string{command}})
		err := l.startAnyhow(b)
		l.ErrorIs(err, errdefs.ErrNotFound, command)
		if !strings.Contains(err.Error(), `exec: "`+command+`"`) {
			l.Errorf("the error does not name the command: %w", err)
		}
		l.gone(b)
	}
}

func deniedCommand(l *runtimeLab) {
	for _, command := range []string{"/etc/plain", "/etc"} {
		b := l.bundle(box{args: []string{command}})
		l.ErrorIs(l.startAnyhow(b), errdefs.ErrPermissionDenied, command)
		l.gone(b)
	}
}

func badBundle(l *runtimeLab) {
	b := l.bundle(box{script: "true"})
	b.request.Bundle = l.TempDir()
	_, _, err := l.d.Create(l.ctx, b.request)
	l.ErrorIs(err, errdefs.ErrInvalidArgument, "create")
	l.gone(b)
}

func deleteForce(l *runtimeLab) {
	for _, start := range []bool{false, true} {
		b := l.create(box{script: "sleep 1000"})
		if start {
			_, err := l.d.Start(l.ctx, b.id)
			l.NoError(err, "start")
		}
		_, err := l.d.Delete(l.ctx, b.id, false)
		l.ErrorIs(err, errdefs.ErrFailedPrecondition, "delete without force")
		e, err := l.d.Delete(l.ctx, b.id, true)
		l.NoError(err, "delete with force")
		if e == nil || e.Code != 137 {
			l.Errorf("exit after force: %+v", e)
		}
		l.gone(b)
	}
}

func pauseAndResume(l *runtimeLab) {
	b := l.run(box{script: `while read line < /go; do echo $line; done`, fifo: "/go"})
	out := l.attach(b, "", runtime.StreamSet{Stdout: true}, false)
	for range 2 {
		l.NoError(l.d.Pause(l.ctx, b.id), "pause")
	}
	l.status(b, runtime.Paused)
	_, _, err := l.d.Exec(l.ctx, l.execRequest(b, "x", "true"))
	l.ErrorIs(err, errdefs.ErrFailedPrecondition, "exec in a frozen container")
	if !strings.Contains(err.Error(), string(runtime.Paused)) {
		l.Errorf("the error does not name the status: %w", err)
	}
	for range 2 {
		l.NoError(l.d.Resume(l.ctx, b.id), "resume")
	}
	l.status(b, runtime.Running)
	b.write("thawed\n")
	out.expect(1, "thawed\n")
}

func killFrozen(l *runtimeLab) {
	b := l.run(box{script: "sleep 1000"})
	l.NoError(l.d.Pause(l.ctx, b.id), "pause")
	l.NoError(l.d.Kill(l.ctx, b.id, "", 9, false), "kill")
	if e := l.wait(b, ""); e.Code != 137 {
		l.Errorf("exit: %+v", e)
	}
}

func killOneOrAll(l *runtimeLab) {
	b := l.run(box{script: `trap 'echo first' USR1; sh -c 'trap "echo second" USR1; echo ready; while :; do sleep 0.01; done' & while :; do wait; done`})
	out := l.attach(b, "", runtime.StreamSet{Stdout: true}, false)
	l.until(b, "ready")
	pids, err := l.d.Processes(l.ctx, b.id)
	l.NoError(err, "processes")
	if st := l.state(b, ""); len(pids) < 2 || pids[0] != st.Pid && pids[1] != st.Pid && len(pids) < 3 {
		l.Errorf("processes %v, first %d", pids, st.Pid)
	}
	const usr1 = 10
	l.NoError(l.d.Kill(l.ctx, b.id, "", usr1, false), "signal the first")
	l.until(b, "first")
	l.NoError(l.d.Kill(l.ctx, b.id, "", usr1, true), "signal all")
	l.until(b, "second")
	out.close()
	l.NoError(l.d.Kill(l.ctx, b.id, "", 9, true), "kill all")
	l.wait(b, "")
}

func mountsArePrivate(l *runtimeLab) {
	b := l.run(box{script: "cat /etc/plain; sleep 1000"})
	l.until(b, "plain")
	if in, err := mountPoints("self"); err != nil || strings.Contains(in, b.dir) {
		l.Errorf("the root file system is mounted in the host's namespace (%v)", err)
	}
	_, err := l.d.Delete(l.ctx, b.id, true)
	l.NoError(err, "delete")
}

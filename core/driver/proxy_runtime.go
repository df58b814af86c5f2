package driver

import (
	"cmp"
	"context"
	"encoding/json"
	"syscall"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/runtime"
)

type runtimeProxy struct{ common }

var _ runtime.Driver = runtimeProxy{}

func (p runtimeProxy) Create(ctx context.Context, r runtime.CreateRequest) (driver.Handle, runtime.State, error) {
	type created struct {
		handle driver.Handle
		state  runtime.State
	}
	c, err := call(ctx, p.in, starts("Create"), func(ctx context.Context, d runtime.Driver) (created, error) {
		h, s, err := d.Create(ctx, r)
		return created{h, s}, p.asked("Create", r.ID, "", s, err)
	})
	return c.handle, c.state, err
}

// asked refuses a state that is not of the process asked for.
func (p runtimeProxy) asked(method string, id runtime.ContainerID, exec runtime.ExecID, s runtime.State, err error) error {
	if err != nil {
		return err
	}
	return cmp.Or(same(p.in, method, "container", id, s.ID), same(p.in, method, "exec", exec, s.Exec))
}

func (p runtimeProxy) Start(ctx context.Context, id runtime.ContainerID) (runtime.State, error) {
	return call(ctx, p.in, quick("Start"), func(ctx context.Context, d runtime.Driver) (runtime.State, error) {
		s, err := d.Start(ctx, id)
		return s, p.asked("Start", id, "", s, err)
	})
}

func (p runtimeProxy) Recover(ctx context.Context, id runtime.ContainerID, h driver.Handle) (runtime.State, error) {
	return call(ctx, p.in, quick("Recover"), func(ctx context.Context, d runtime.Driver) (runtime.State, error) {
		s, err := d.Recover(ctx, id, h)
		return s, p.asked("Recover", id, "", s, err)
	})
}

func (p runtimeProxy) State(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) (runtime.State, error) {
	return call(ctx, p.in, quick("State"), func(ctx context.Context, d runtime.Driver) (runtime.State, error) {
		s, err := d.State(ctx, id, exec)
		return s, p.asked("State", id, exec, s, err)
	})
}

// Kill is repeated only when a second signal does no harm.
func (p runtimeProxy) Kill(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, signal int, all bool) error {
	pol := policy{method: "Kill", timeout: quickCall, once: syscall.Signal(signal) != syscall.SIGKILL}
	return do(ctx, p.in, pol, func(ctx context.Context, d runtime.Driver) error { return d.Kill(ctx, id, exec, signal, all) })
}

func (p runtimeProxy) Pause(ctx context.Context, id runtime.ContainerID) error {
	return do(ctx, p.in, quick("Pause"), func(ctx context.Context, d runtime.Driver) error { return d.Pause(ctx, id) })
}

func (p runtimeProxy) Resume(ctx context.Context, id runtime.ContainerID) error {
	return do(ctx, p.in, quick("Resume"), func(ctx context.Context, d runtime.Driver) error { return d.Resume(ctx, id) })
}

func (p runtimeProxy) Update(ctx context.Context, id runtime.ContainerID, resources json.RawMessage) error {
	return do(ctx, p.in, quick("Update"), func(ctx context.Context, d runtime.Driver) error { return d.Update(ctx, id, resources) })
}

func (p runtimeProxy) Delete(ctx context.Context, id runtime.ContainerID, force bool) (*runtime.Exit, error) {
	return call(ctx, p.in, starts("Delete"), func(ctx context.Context, d runtime.Driver) (*runtime.Exit, error) {
		return d.Delete(ctx, id, force)
	})
}

func (p runtimeProxy) Collect(ctx context.Context, keep []runtime.ContainerID) error {
	return do(ctx, p.in, slow("Collect"), func(ctx context.Context, d runtime.Driver) error { return d.Collect(ctx, keep) })
}

// Exec is not repeated: the process may have been started already.
func (p runtimeProxy) Exec(ctx context.Context, r runtime.ExecRequest) (runtime.State, string, error) {
	type started struct {
		state  runtime.State
		socket string
	}
	pol := policy{method: "Exec", timeout: quickCall, once: true}
	s, err := call(ctx, p.in, pol, func(ctx context.Context, d runtime.Driver) (started, error) {
		st, socket, err := d.Exec(ctx, r)
		return started{st, socket}, p.asked("Exec", r.ID, r.Exec, st, err)
	})
	return s.state, s.socket, err
}

func (p runtimeProxy) DeleteExec(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) error {
	return do(ctx, p.in, quick("DeleteExec"), func(ctx context.Context, d runtime.Driver) error { return d.DeleteExec(ctx, id, exec) })
}

func (p runtimeProxy) Attach(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, want runtime.StreamSet) (string, error) {
	return call(ctx, p.in, quick("Attach"), func(ctx context.Context, d runtime.Driver) (string, error) {
		return d.Attach(ctx, id, exec, want)
	})
}

func (p runtimeProxy) Resize(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, width, height uint16) error {
	return do(ctx, p.in, quick("Resize"), func(ctx context.Context, d runtime.Driver) error {
		return d.Resize(ctx, id, exec, width, height)
	})
}

func (p runtimeProxy) CloseStdin(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) error {
	return do(ctx, p.in, quick("CloseStdin"), func(ctx context.Context, d runtime.Driver) error { return d.CloseStdin(ctx, id, exec) })
}

func (p runtimeProxy) Processes(ctx context.Context, id runtime.ContainerID) ([]int, error) {
	return call(ctx, p.in, quick("Processes"), func(ctx context.Context, d runtime.Driver) ([]int, error) { return d.Processes(ctx, id) })
}

func (p runtimeProxy) Stats(ctx context.Context, id runtime.ContainerID) (runtime.Stats, error) {
	return call(ctx, p.in, quick("Stats"), func(ctx context.Context, d runtime.Driver) (runtime.Stats, error) { return d.Stats(ctx, id) })
}

// WatchEvents goes on over relaunches. The driver's promise to begin with every
// exit that is not deleted makes that free of gaps.
func (p runtimeProxy) WatchEvents(ctx context.Context, deliver func(runtime.Event)) error {
	return watch(ctx, p.in, "WatchEvents", func(ctx context.Context, d runtime.Driver) error { return d.WatchEvents(ctx, deliver) })
}

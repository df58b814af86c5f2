package runc

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Exec starts an additional process.
func (d *Driver) Exec(ctx context.Context, r runtime.ExecRequest) (runtime.State, string, error) {
	defer d.busy()()
	c, err := d.get(r.ID)
	if err == nil {
		err = checkID(string(r.Exec))
	}
	if err != nil {
		return runtime.State{}, "", err
	}
	if r.IO.Log.Path != "" {
		return runtime.State{}, "", fmt.Errorf("container %s: exec %s: only the first process has a log: %w", r.ID, r.Exec, errdefs.ErrInvalidArgument)
	}
	reply, err := c.living(ctx, wire.Request{
		Op: wire.OpExec, Exec: string(r.Exec), Process: r.Process, IO: wireIO(r.IO), Streams: wireStreams(r.Attach),
	})
	if err != nil {
		return runtime.State{}, "", err
	}
	return c.state(r.Exec, *reply.State), reply.Socket, nil
}

// DeleteExec forgets an exec that has ended.
func (d *Driver) DeleteExec(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) error {
	c, err := d.get(id)
	if err == nil {
		err = checkID(string(exec))
	}
	if err != nil {
		return ignoreNotFound(err)
	}
	_, err = c.call(ctx, wire.Request{Op: wire.OpDeleteExec, Exec: string(exec)})
	if err == nil || isNoShim(err) {
		d.events.forget(id, exec)
		c.keep.forget(string(exec))
		return c.removeExec(exec)
	}
	return err
}

func wireStreams(s runtime.StreamSet) wire.Streams {
	return wire.Streams{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr}
}

// Attach returns the path of a stream socket.
func (d *Driver) Attach(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, want runtime.StreamSet) (string, error) {
	c, err := d.get(id)
	if err != nil {
		return "", err
	}
	reply, err := c.living(ctx, wire.Request{Op: wire.OpAttach, Exec: string(exec), Streams: wireStreams(want)})
	return reply.Socket, err
}

// Resize sets the terminal's size in cells.
func (d *Driver) Resize(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, width, height uint16) error {
	return d.simple(ctx, id, wire.Request{Op: wire.OpResize, Exec: string(exec), Width: width, Height: height})
}

// CloseStdin ends standard input, which that of a stopped container has.
func (d *Driver) CloseStdin(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) error {
	c, err := d.get(id)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, wire.Request{Op: wire.OpCloseStdin, Exec: string(exec)})
	if isNoShim(err) {
		return nil
	}
	return err
}

// Package runtimewire carries the runtime contract over gRPC.
package runtimewire

import (
	"context"
	"encoding/json"

	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	pb "github.com/strakehq/strake/sdk/internal/pb/runtimepb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/runtime"
)

type client struct {
	*driverwire.Client
	rpc pb.RuntimeServiceClient
}

// NewClient returns the driver behind cc.
func NewClient(cc grpc.ClientConnInterface) runtime.Driver {
	return &client{driverwire.NewClient(cc), pb.NewRuntimeServiceClient(cc)}
}

func (c *client) Create(ctx context.Context, r runtime.CreateRequest) (driver.Handle, runtime.State, error) {
	a, err := c.rpc.Create(ctx, &pb.CreateRequest{
		Id: string(r.ID), Bundle: r.Bundle, Rootfs: driverwire.ToMounts(r.Rootfs), Io: toIO(r.IO), Runtime: r.Runtime,
	})
	if err != nil {
		return driver.Handle{}, runtime.State{}, err
	}
	return driverwire.FromHandle(a.GetHandle()), fromState(a.GetState()), nil
}

func (c *client) Start(ctx context.Context, id runtime.ContainerID) (runtime.State, error) {
	a, err := c.rpc.Start(ctx, &pb.StartRequest{Id: string(id)})
	return fromState(a.GetState()), err
}

func (c *client) Recover(ctx context.Context, id runtime.ContainerID, h driver.Handle) (runtime.State, error) {
	a, err := c.rpc.Recover(ctx, &pb.RecoverRequest{Id: string(id), Handle: driverwire.ToHandle(h)})
	return fromState(a.GetState()), err
}

func (c *client) State(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) (runtime.State, error) {
	a, err := c.rpc.State(ctx, &pb.StateRequest{Id: string(id), Exec: string(exec)})
	return fromState(a.GetState()), err
}

func (c *client) Kill(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, signal int, all bool) error {
	_, err := c.rpc.Kill(ctx, &pb.KillRequest{Id: string(id), Exec: string(exec), Signal: int32(signal), All: all})
	return err
}

func (c *client) Pause(ctx context.Context, id runtime.ContainerID) error {
	_, err := c.rpc.Pause(ctx, &pb.PauseRequest{Id: string(id)})
	return err
}

func (c *client) Resume(ctx context.Context, id runtime.ContainerID) error {
	_, err := c.rpc.Resume(ctx, &pb.ResumeRequest{Id: string(id)})
	return err
}

func (c *client) Update(ctx context.Context, id runtime.ContainerID, resources json.RawMessage) error {
	_, err := c.rpc.Update(ctx, &pb.UpdateRequest{Id: string(id), Resources: resources})
	return err
}

func (c *client) Delete(ctx context.Context, id runtime.ContainerID, force bool) (*runtime.Exit, error) {
	a, err := c.rpc.Delete(ctx, &pb.DeleteRequest{Id: string(id), Force: force})
	return fromExit(a.GetExit()), err
}

func (c *client) Collect(ctx context.Context, keep []runtime.ContainerID) error {
	_, err := c.rpc.Collect(ctx, &pb.CollectRequest{Keep: driverwire.Strings[string](keep)})
	return err
}

func (c *client) Exec(ctx context.Context, r runtime.ExecRequest) (runtime.State, string, error) {
	a, err := c.rpc.Exec(ctx, &pb.ExecRequest{
		Id: string(r.ID), Exec: string(r.Exec), Process: r.Process, Io: toIO(r.IO), Attach: toStreams(r.Attach),
	})
	return fromState(a.GetState()), a.GetSocket(), err
}

func (c *client) DeleteExec(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) error {
	_, err := c.rpc.DeleteExec(ctx, &pb.DeleteExecRequest{Id: string(id), Exec: string(exec)})
	return err
}

func (c *client) Attach(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, want runtime.StreamSet) (string, error) {
	a, err := c.rpc.Attach(ctx, &pb.AttachRequest{Id: string(id), Exec: string(exec), Want: toStreams(want)})
	return a.GetSocket(), err
}

func (c *client) Resize(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID, width, height uint16) error {
	_, err := c.rpc.Resize(ctx, &pb.ResizeRequest{
		Id: string(id), Exec: string(exec), Width: uint32(width), Height: uint32(height),
	})
	return err
}

func (c *client) CloseStdin(ctx context.Context, id runtime.ContainerID, exec runtime.ExecID) error {
	_, err := c.rpc.CloseStdin(ctx, &pb.CloseStdinRequest{Id: string(id), Exec: string(exec)})
	return err
}

func (c *client) Processes(ctx context.Context, id runtime.ContainerID) ([]int, error) {
	a, err := c.rpc.Processes(ctx, &pb.ProcessesRequest{Id: string(id)})
	if err != nil {
		return nil, err
	}
	pids := make([]int, len(a.GetPids()))
	for i, p := range a.GetPids() {
		pids[i] = int(p)
	}
	return pids, nil
}

func (c *client) Stats(ctx context.Context, id runtime.ContainerID) (runtime.Stats, error) {
	a, err := c.rpc.Stats(ctx, &pb.StatsRequest{Id: string(id)})
	if err != nil {
		return runtime.Stats{}, err
	}
	return fromStats(a), nil
}

func (c *client) WatchEvents(ctx context.Context, deliver func(runtime.Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.rpc.WatchEvents(ctx, &pb.WatchEventsRequest{})
	if err != nil {
		return driverwire.EndOfWatch(ctx, err)
	}
	return driverwire.Watch(ctx, s, func(e *pb.WatchEventsResponse) {
		deliver(runtime.Event{
			Kind: runtime.EventKind(e.GetKind()), ID: runtime.ContainerID(e.GetId()), Exec: runtime.ExecID(e.GetExec()),
			At: driverwire.FromTime(e.GetAt()), Exit: fromExit(e.GetExit()),
		})
	})
}

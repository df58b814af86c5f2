package runtimewire

import (
	"context"

	"google.golang.org/grpc"

	pb "github.com/strakehq/strake/sdk/internal/pb/runtimepb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/runtime"
)

type server struct {
	pb.UnimplementedRuntimeServiceServer
	driver runtime.Driver
}

// Register serves d on r.
func Register(r grpc.ServiceRegistrar, d runtime.Driver) {
	pb.RegisterRuntimeServiceServer(r, &server{driver: d})
}

func (s *server) Create(ctx context.Context, r *pb.CreateRequest) (*pb.CreateResponse, error) {
	h, st, err := s.driver.Create(ctx, runtime.CreateRequest{
		ID: runtime.ContainerID(r.GetId()), Bundle: r.GetBundle(), Rootfs: driverwire.FromMounts(r.GetRootfs()),
		IO: fromIO(r.GetIo()), Runtime: r.GetRuntime(),
	})
	return &pb.CreateResponse{Handle: driverwire.ToHandle(h), State: toState(st)}, err
}

func (s *server) Start(ctx context.Context, r *pb.StartRequest) (*pb.StartResponse, error) {
	st, err := s.driver.Start(ctx, runtime.ContainerID(r.GetId()))
	return &pb.StartResponse{State: toState(st)}, err
}

func (s *server) Recover(ctx context.Context, r *pb.RecoverRequest) (*pb.RecoverResponse, error) {
	st, err := s.driver.Recover(ctx, runtime.ContainerID(r.GetId()), driverwire.FromHandle(r.GetHandle()))
	return &pb.RecoverResponse{State: toState(st)}, err
}

func (s *server) State(ctx context.Context, r *pb.StateRequest) (*pb.StateResponse, error) {
	st, err := s.driver.State(ctx, runtime.ContainerID(r.GetId()), runtime.ExecID(r.GetExec()))
	return &pb.StateResponse{State: toState(st)}, err
}

func (s *server) Kill(ctx context.Context, r *pb.KillRequest) (*pb.KillResponse, error) {
	return &pb.KillResponse{}, s.driver.Kill(ctx, runtime.ContainerID(r.GetId()), runtime.ExecID(r.GetExec()),
		int(r.GetSignal()), r.GetAll())
}

func (s *server) Pause(ctx context.Context, r *pb.PauseRequest) (*pb.PauseResponse, error) {
	return &pb.PauseResponse{}, s.driver.Pause(ctx, runtime.ContainerID(r.GetId()))
}

func (s *server) Resume(ctx context.Context, r *pb.ResumeRequest) (*pb.ResumeResponse, error) {
	return &pb.ResumeResponse{}, s.driver.Resume(ctx, runtime.ContainerID(r.GetId()))
}

func (s *server) Update(ctx context.Context, r *pb.UpdateRequest) (*pb.UpdateResponse, error) {
	return &pb.UpdateResponse{}, s.driver.Update(ctx, runtime.ContainerID(r.GetId()), r.GetResources())
}

func (s *server) Delete(ctx context.Context, r *pb.DeleteRequest) (*pb.DeleteResponse, error) {
	exit, err := s.driver.Delete(ctx, runtime.ContainerID(r.GetId()), r.GetForce())
	return &pb.DeleteResponse{Exit: toExit(exit)}, err
}

func (s *server) Collect(ctx context.Context, r *pb.CollectRequest) (*pb.CollectResponse, error) {
	return &pb.CollectResponse{}, s.driver.Collect(ctx, driverwire.Strings[runtime.ContainerID](r.GetKeep()))
}

func (s *server) Exec(ctx context.Context, r *pb.ExecRequest) (*pb.ExecResponse, error) {
	st, socket, err := s.driver.Exec(ctx, runtime.ExecRequest{
		ID: runtime.ContainerID(r.GetId()), Exec: runtime.ExecID(r.GetExec()), Process: r.GetProcess(),
		IO: fromIO(r.GetIo()), Attach: fromStreams(r.GetAttach()),
	})
	return &pb.ExecResponse{State: toState(st), Socket: socket}, err
}

func (s *server) DeleteExec(ctx context.Context, r *pb.DeleteExecRequest) (*pb.DeleteExecResponse, error) {
	return &pb.DeleteExecResponse{}, s.driver.DeleteExec(ctx, runtime.ContainerID(r.GetId()), runtime.ExecID(r.GetExec()))
}

func (s *server) Attach(ctx context.Context, r *pb.AttachRequest) (*pb.AttachResponse, error) {
	socket, err := s.driver.Attach(ctx, runtime.ContainerID(r.GetId()), runtime.ExecID(r.GetExec()), fromStreams(r.GetWant()))
	return &pb.AttachResponse{Socket: socket}, err
}

func (s *server) Resize(ctx context.Context, r *pb.ResizeRequest) (*pb.ResizeResponse, error) {
	return &pb.ResizeResponse{}, s.driver.Resize(ctx, runtime.ContainerID(r.GetId()), runtime.ExecID(r.GetExec()),
		uint16(r.GetWidth()), uint16(r.GetHeight()))
}

func (s *server) CloseStdin(ctx context.Context, r *pb.CloseStdinRequest) (*pb.CloseStdinResponse, error) {
	return &pb.CloseStdinResponse{}, s.driver.CloseStdin(ctx, runtime.ContainerID(r.GetId()), runtime.ExecID(r.GetExec()))
}

func (s *server) Processes(ctx context.Context, r *pb.ProcessesRequest) (*pb.ProcessesResponse, error) {
	pids, err := s.driver.Processes(ctx, runtime.ContainerID(r.GetId()))
	a := &pb.ProcessesResponse{Pids: make([]int64, len(pids))}
	for i, p := range pids {
		a.Pids[i] = int64(p)
	}
	return a, err
}

func (s *server) Stats(ctx context.Context, r *pb.StatsRequest) (*pb.StatsResponse, error) {
	st, err := s.driver.Stats(ctx, runtime.ContainerID(r.GetId()))
	return toStats(st), err
}

func (s *server) WatchEvents(_ *pb.WatchEventsRequest, out grpc.ServerStreamingServer[pb.WatchEventsResponse]) error {
	return driverwire.Serve(out, func(ctx context.Context, send func(*pb.WatchEventsResponse)) error {
		return s.driver.WatchEvents(ctx, func(e runtime.Event) {
			send(&pb.WatchEventsResponse{
				Kind: string(e.Kind), Id: string(e.ID), Exec: string(e.Exec),
				At: driverwire.ToTime(e.At), Exit: toExit(e.Exit),
			})
		})
	})
}

package driverwire

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	pb "github.com/strakehq/strake/sdk/internal/pb/driverpb"
)

// Server serves a driver.
type Server struct {
	pb.UnimplementedDriverServiceServer
	driver driver.Driver
	kind   driver.Kind
	caps   []driver.Capability
}

// NewServer serves d as a driver of a kind. Capabilities caps are published
// beside those that d names itself.
func NewServer(d driver.Driver, kind driver.Kind, caps ...driver.Capability) *Server {
	return &Server{driver: d, kind: kind, caps: caps}
}

// Register adds the service to r.
func (s *Server) Register(r grpc.ServiceRegistrar) { pb.RegisterDriverServiceServer(r, s) }

// Info is the driver's identity with what the SDK adds to it.
func (s *Server) Info(ctx context.Context) (driver.Info, error) {
	info, err := s.driver.Info(ctx)
	if err != nil {
		return driver.Info{}, err
	}
	info.Kind = s.kind
	info.Capabilities = slices.Clone(info.Capabilities)
	for _, c := range s.caps {
		if !slices.Contains(info.Capabilities, c) {
			info.Capabilities = append(info.Capabilities, c)
		}
	}
	return info, nil
}

// GetInfo serves Info.
func (s *Server) GetInfo(ctx context.Context, _ *pb.GetInfoRequest) (*pb.GetInfoResponse, error) {
	info, err := s.Info(ctx)
	if err != nil {
		return nil, err
	}
	r := &pb.GetInfoResponse{
		Kind: string(info.Kind), Name: info.Name, Version: info.Version, OptionsSchema: info.OptionsSchema,
	}
	for _, c := range info.Capabilities {
		r.Capabilities = append(r.Capabilities, string(c))
	}
	return r, nil
}

// Configure serves Configure.
func (s *Server) Configure(ctx context.Context, r *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	return &pb.ConfigureResponse{}, s.driver.Configure(ctx, driver.Config{
		Options: json.RawMessage(r.GetOptions()), StateDir: r.GetStateDir(), RunDir: r.GetRunDir(), Libexec: r.GetLibexec(),
	})
}

// WatchHealth serves WatchHealth.
func (s *Server) WatchHealth(_ *pb.WatchHealthRequest, out grpc.ServerStreamingServer[pb.WatchHealthResponse]) error {
	return Serve(out, func(ctx context.Context, send func(*pb.WatchHealthResponse)) error {
		return s.driver.WatchHealth(ctx, func(h driver.Health) {
			send(&pb.WatchHealthResponse{Status: string(h.Status), Reason: h.Reason})
		})
	})
}

// Shutdown serves Shutdown.
func (s *Server) Shutdown(ctx context.Context, _ *pb.ShutdownRequest) (*pb.ShutdownResponse, error) {
	return &pb.ShutdownResponse{}, s.driver.Shutdown(ctx)
}

// Serve runs watch and sends what it delivers, from any goroutine, until it
// returns or the client is gone.
func Serve[M any](out grpc.ServerStreamingServer[M], watch func(context.Context, func(*M)) error) error {
	ctx, cancel := context.WithCancelCause(out.Context())
	defer cancel(nil)
	var mu sync.Mutex // Send is for one goroutine at a time
	return watch(ctx, func(m *M) {
		mu.Lock()
		defer mu.Unlock()
		if err := out.Send(m); err != nil {
			cancel(err)
		}
	})
}

package networkwire

import (
	"context"

	"google.golang.org/grpc"

	pb "github.com/strakehq/strake/sdk/internal/pb/networkpb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/network"
)

type server struct {
	pb.UnimplementedNetworkServiceServer
	driver network.Driver
}

// Register serves d on r.
func Register(r grpc.ServiceRegistrar, d network.Driver) {
	pb.RegisterNetworkServiceServer(r, &server{driver: d})
}

func (s *server) EnsureNetwork(ctx context.Context, r *pb.EnsureNetworkRequest) (*pb.EnsureNetworkResponse, error) {
	in, err := fromNetwork(r.GetNetwork())
	if err != nil {
		return nil, err
	}
	n, err := s.driver.EnsureNetwork(ctx, in)
	return &pb.EnsureNetworkResponse{Network: toNetwork(n)}, err
}

func (s *server) RemoveNetwork(ctx context.Context, r *pb.RemoveNetworkRequest) (*pb.RemoveNetworkResponse, error) {
	return &pb.RemoveNetworkResponse{}, s.driver.RemoveNetwork(ctx, network.NetworkID(r.GetId()))
}

func (s *server) Attach(ctx context.Context, r *pb.AttachRequest) (*pb.AttachResponse, error) {
	in, err := fromRequest(r)
	if err != nil {
		return nil, err
	}
	a, err := s.driver.Attach(ctx, in)
	if err != nil {
		return nil, err
	}
	out, err := toAttachment(a)
	return &pb.AttachResponse{Attachment: out}, err
}

func (s *server) Detach(ctx context.Context, r *pb.DetachRequest) (*pb.DetachResponse, error) {
	return &pb.DetachResponse{}, s.driver.Detach(ctx, network.EndpointID(r.GetId()))
}

func (s *server) Recover(ctx context.Context, r *pb.RecoverRequest) (*pb.RecoverResponse, error) {
	in, err := fromAttachment(r.GetAttachment())
	if err != nil {
		return nil, err
	}
	a, err := s.driver.Recover(ctx, in)
	if err != nil {
		return nil, err
	}
	out, err := toAttachment(a)
	return &pb.RecoverResponse{Attachment: out}, err
}

func (s *server) Check(ctx context.Context, r *pb.CheckRequest) (*pb.CheckResponse, error) {
	return &pb.CheckResponse{}, s.driver.Check(ctx, network.EndpointID(r.GetId()))
}

func (s *server) List(ctx context.Context, _ *pb.ListRequest) (*pb.ListResponse, error) {
	list, err := s.driver.List(ctx)
	if err != nil {
		return nil, err
	}
	r := &pb.ListResponse{}
	for _, a := range list {
		out, err := toAttachment(a)
		if err != nil {
			return nil, err
		}
		r.Attachments = append(r.Attachments, out)
	}
	return r, nil
}

func (s *server) SetNames(ctx context.Context, r *pb.SetNamesRequest) (*pb.SetNamesResponse, error) {
	return &pb.SetNamesResponse{}, s.driver.SetNames(ctx, network.EndpointID(r.GetId()), r.GetNames())
}

func (s *server) Collect(ctx context.Context, r *pb.CollectRequest) (*pb.CollectResponse, error) {
	return &pb.CollectResponse{}, s.driver.Collect(ctx, driverwire.Strings[network.NetworkID](r.GetNetworks()),
		driverwire.Strings[network.EndpointID](r.GetEndpoints()))
}

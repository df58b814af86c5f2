package registrywire

import (
	"context"
	"errors"
	"io"

	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/internal/bulk"
	pb "github.com/strakehq/strake/sdk/internal/pb/registrypb"
	"github.com/strakehq/strake/sdk/registry"
)

type server struct {
	pb.UnimplementedRegistryServiceServer
	driver registry.Driver
	pool   bulk.Pool
}

// Register serves d on r.
func Register(r grpc.ServiceRegistrar, d registry.Driver) {
	pb.RegisterRegistryServiceServer(r, &server{driver: d})
}

func (s *server) Resolve(ctx context.Context, r *pb.ResolveRequest) (*pb.ResolveResponse, error) {
	d, err := s.driver.Resolve(ctx, fromRepository(r.GetRepository()), r.GetReference())
	if err != nil {
		return nil, err
	}
	b, err := toDescriptor(d)
	return &pb.ResolveResponse{DescriptorJson: b}, err
}

func (s *server) GetManifest(ctx context.Context, r *pb.GetManifestRequest) (*pb.GetManifestResponse, error) {
	m, err := s.driver.GetManifest(ctx, fromRepository(r.GetRepository()), r.GetReference())
	if err != nil {
		return nil, err
	}
	b, err := toDescriptor(m.Descriptor)
	return &pb.GetManifestResponse{DescriptorJson: b, Content: m.Bytes}, err
}

func (s *server) StatBlob(ctx context.Context, r *pb.StatBlobRequest) (*pb.StatBlobResponse, error) {
	d, err := s.driver.StatBlob(ctx, fromRepository(r.GetRepository()), digest.Digest(r.GetDigest()))
	if err != nil {
		return nil, err
	}
	b, err := toDescriptor(d)
	return &pb.StatBlobResponse{DescriptorJson: b}, err
}

func (s *server) FetchBlob(ctx context.Context, r *pb.FetchBlobRequest) (_ *pb.FetchBlobResponse, err error) {
	d, err := fromDescriptor(r.GetDescriptorJson())
	if err != nil {
		return nil, err
	}
	blob, err := s.driver.FetchBlob(ctx, fromRepository(r.GetRepository()), d, r.GetOffset())
	if err != nil {
		return nil, err
	}
	err = bulk.Provide(ctx, r.GetStream(), &s.pool, func(w io.Writer) error {
		_, err := io.Copy(w, blob)
		return err
	})
	return &pb.FetchBlobResponse{}, errors.Join(err, blob.Close())
}

func (s *server) PushBlob(ctx context.Context, r *pb.PushBlobRequest) (*pb.PushBlobResponse, error) {
	d, err := fromDescriptor(r.GetDescriptorJson())
	if err != nil {
		return nil, err
	}
	return &pb.PushBlobResponse{}, bulk.Receive(ctx, r.GetStream(), &s.pool, func(content io.Reader) error {
		return s.driver.PushBlob(ctx, fromRepository(r.GetRepository()), d, content)
	})
}

func (s *server) MountBlob(ctx context.Context, r *pb.MountBlobRequest) (*pb.MountBlobResponse, error) {
	ok, err := s.driver.MountBlob(ctx, fromRepository(r.GetRepository()), digest.Digest(r.GetDigest()), r.GetFrom())
	return &pb.MountBlobResponse{Mounted: ok}, err
}

func (s *server) PutManifest(ctx context.Context, r *pb.PutManifestRequest) (*pb.PutManifestResponse, error) {
	d, err := fromDescriptor(r.GetDescriptorJson())
	if err != nil {
		return nil, err
	}
	return &pb.PutManifestResponse{}, s.driver.PutManifest(ctx, fromRepository(r.GetRepository()), r.GetReference(),
		registry.Manifest{Descriptor: d, Bytes: r.GetContent()})
}

func (s *server) ListTags(ctx context.Context, r *pb.ListTagsRequest) (*pb.ListTagsResponse, error) {
	tags, err := s.driver.ListTags(ctx, fromRepository(r.GetRepository()))
	return &pb.ListTagsResponse{Tags: tags}, err
}

func (s *server) ListReferrers(ctx context.Context, r *pb.ListReferrersRequest) (*pb.ListReferrersResponse, error) {
	list, err := s.driver.ListReferrers(ctx, fromRepository(r.GetRepository()), digest.Digest(r.GetDigest()), r.GetArtifactType())
	if err != nil {
		return nil, err
	}
	a := &pb.ListReferrersResponse{}
	for _, d := range list {
		b, err := toDescriptor(d)
		if err != nil {
			return nil, err
		}
		a.DescriptorsJson = append(a.DescriptorsJson, b)
	}
	return a, nil
}

func (s *server) Login(ctx context.Context, r *pb.LoginRequest) (*pb.LoginResponse, error) {
	l, err := s.driver.Login(ctx, r.GetHost(), fromCredentials(r.GetCredentials()))
	return &pb.LoginResponse{IdentityToken: l.IdentityToken.Reveal()}, err
}

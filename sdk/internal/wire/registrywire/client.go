// Package registrywire carries the registry contract over gRPC.
package registrywire

import (
	"context"
	"io"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/internal/bulk"
	pb "github.com/strakehq/strake/sdk/internal/pb/registrypb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/registry"
)

type client struct {
	*driverwire.Client
	rpc  pb.RegistryServiceClient
	bulk bulk.Host
}

// NewClient returns the driver behind cc.
func NewClient(cc grpc.ClientConnInterface, b bulk.Host) registry.Driver {
	return &client{driverwire.NewClient(cc), pb.NewRegistryServiceClient(cc), b}
}

func (c *client) Resolve(ctx context.Context, r registry.Repository, reference string) (ocispec.Descriptor, error) {
	a, err := c.rpc.Resolve(ctx, &pb.ResolveRequest{Repository: toRepository(r), Reference: reference})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return fromDescriptor(a.GetDescriptorJson())
}

func (c *client) GetManifest(ctx context.Context, r registry.Repository, reference string) (registry.Manifest, error) {
	a, err := c.rpc.GetManifest(ctx, &pb.GetManifestRequest{Repository: toRepository(r), Reference: reference})
	if err != nil {
		return registry.Manifest{}, err
	}
	d, err := fromDescriptor(a.GetDescriptorJson())
	return registry.Manifest{Descriptor: d, Bytes: a.GetContent()}, err
}

func (c *client) StatBlob(ctx context.Context, r registry.Repository, d digest.Digest) (ocispec.Descriptor, error) {
	a, err := c.rpc.StatBlob(ctx, &pb.StatBlobRequest{Repository: toRepository(r), Digest: d.String()})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return fromDescriptor(a.GetDescriptorJson())
}

func (c *client) FetchBlob(ctx context.Context, r registry.Repository, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	desc, err := toDescriptor(d)
	if err != nil {
		return nil, err
	}
	return c.bulk.Open(ctx, func(ctx context.Context, socket string) error {
		_, err := c.rpc.FetchBlob(ctx, &pb.FetchBlobRequest{
			Repository: toRepository(r), DescriptorJson: desc, Offset: offset, Stream: socket,
		})
		return err
	})
}

func (c *client) PushBlob(ctx context.Context, r registry.Repository, d ocispec.Descriptor, content io.Reader) error {
	desc, err := toDescriptor(d)
	if err != nil {
		return err
	}
	_, err = c.bulk.Upload(ctx, content, func(ctx context.Context, socket string) error {
		_, err := c.rpc.PushBlob(ctx, &pb.PushBlobRequest{Repository: toRepository(r), DescriptorJson: desc, Stream: socket})
		return err
	})
	return err
}

func (c *client) MountBlob(ctx context.Context, r registry.Repository, d digest.Digest, from string) (bool, error) {
	a, err := c.rpc.MountBlob(ctx, &pb.MountBlobRequest{Repository: toRepository(r), Digest: d.String(), From: from})
	return a.GetMounted(), err
}

func (c *client) PutManifest(ctx context.Context, r registry.Repository, reference string, m registry.Manifest) error {
	desc, err := toDescriptor(m.Descriptor)
	if err != nil {
		return err
	}
	_, err = c.rpc.PutManifest(ctx, &pb.PutManifestRequest{
		Repository: toRepository(r), Reference: reference, DescriptorJson: desc, Content: m.Bytes,
	})
	return err
}

func (c *client) ListTags(ctx context.Context, r registry.Repository) ([]string, error) {
	a, err := c.rpc.ListTags(ctx, &pb.ListTagsRequest{Repository: toRepository(r)})
	return a.GetTags(), err
}

func (c *client) ListReferrers(ctx context.Context, r registry.Repository, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	a, err := c.rpc.ListReferrers(ctx, &pb.ListReferrersRequest{
		Repository: toRepository(r), Digest: d.String(), ArtifactType: artifactType,
	})
	if err != nil {
		return nil, err
	}
	var out []ocispec.Descriptor
	for _, b := range a.GetDescriptorsJson() {
		d, err := fromDescriptor(b)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func (c *client) Login(ctx context.Context, host string, cred registry.Credentials) (registry.LoginResult, error) {
	a, err := c.rpc.Login(ctx, &pb.LoginRequest{Host: host, Credentials: toCredentials(cred)})
	return registry.LoginResult{IdentityToken: registry.Secret(a.GetIdentityToken())}, err
}

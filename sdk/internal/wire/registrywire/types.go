package registrywire

import (
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	pb "github.com/strakehq/strake/sdk/internal/pb/registrypb"
	"github.com/strakehq/strake/sdk/registry"
)

func toCredentials(c registry.Credentials) *pb.Credentials {
	return &pb.Credentials{
		Username: c.Username, Password: c.Password.Reveal(),
		IdentityToken: c.IdentityToken.Reveal(), RegistryToken: c.RegistryToken.Reveal(),
	}
}

func fromCredentials(c *pb.Credentials) registry.Credentials {
	return registry.Credentials{
		Username: c.GetUsername(), Password: registry.Secret(c.GetPassword()),
		IdentityToken: registry.Secret(c.GetIdentityToken()), RegistryToken: registry.Secret(c.GetRegistryToken()),
	}
}

func toRepository(r registry.Repository) *pb.Repository {
	return &pb.Repository{Host: r.Host, Name: r.Name, Credentials: toCredentials(r.Credentials)}
}

func fromRepository(r *pb.Repository) registry.Repository {
	return registry.Repository{Host: r.GetHost(), Name: r.GetName(), Credentials: fromCredentials(r.GetCredentials())}
}

func toDescriptor(d ocispec.Descriptor) ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("descriptor %s: encode: %w", d.Digest, err)
	}
	return b, nil
}

func fromDescriptor(b []byte) (ocispec.Descriptor, error) {
	var d ocispec.Descriptor
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("descriptor: decode: %w: %w", errdefs.ErrInvalidArgument, err)
	}
	return d, nil
}

package system

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	apiregistry "github.com/moby/moby/api/types/registry"

	"github.com/strakehq/strake/sdk/registry"
)

// Auth answers POST /auth: it tries the credentials at the registry.
func (s *System) Auth(ctx context.Context, a apiregistry.AuthConfig) (apiregistry.AuthResponse, error) {
	host := registryHost(a.ServerAddress)
	if a.Username == "" && a.IdentityToken == "" && a.RegistryToken == "" {
		return apiregistry.AuthResponse{}, fmt.Errorf("login at %s: no user name given: %w", host, errdefs.ErrInvalidArgument)
	}
	d, err := s.Drivers.Registry(host)
	if err != nil {
		return apiregistry.AuthResponse{}, err
	}
	r, err := d.Login(ctx, host, registry.Credentials{
		Username: a.Username, Password: registry.Secret(a.Password),
		IdentityToken: registry.Secret(a.IdentityToken), RegistryToken: registry.Secret(a.RegistryToken),
	})
	if err != nil {
		return apiregistry.AuthResponse{}, err
	}
	return apiregistry.AuthResponse{Status: "Login Succeeded", IdentityToken: r.IdentityToken.Reveal()}, nil
}

// registryHost takes the host out of what clients send as a server address:
// empty or Docker Hub's old index, a host, or a URL.
func registryHost(address string) string {
	_, rest, ok := strings.Cut(address, "://")
	if !ok {
		rest = address
	}
	host, _, _ := strings.Cut(rest, "/")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

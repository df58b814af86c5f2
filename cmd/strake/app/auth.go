package app

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/moby/moby/api/types/registry"
)

// hubKey is the key under which logins to Docker Hub are stored.
const hubKey = "https://index.docker.io/v1/"

// ConfigFile loads config.json; a missing one is empty.
func (a *App) ConfigFile() (*configfile.ConfigFile, error) {
	f, err := config.Load(ConfigDir())
	if err != nil {
		return nil, fmt.Errorf("%s/config.json: %w", ConfigDir(), err)
	}
	return f, nil
}

// RegistryAuth is the value of the X-Registry-Auth header for an image, from the
// credentials in config.json and the helpers that it names; empty when there
// are none.
func (a *App) RegistryAuth(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("%q: %w", image, err)
	}
	f, err := a.ConfigFile()
	if err != nil {
		return "", err
	}
	auth, err := f.GetAuthConfig(AuthKey(reference.Domain(named)))
	if err != nil {
		return "", fmt.Errorf("credentials for %s: %w", reference.Domain(named), err)
	}
	if auth.Username == "" && auth.IdentityToken == "" && auth.RegistryToken == "" {
		return "", nil
	}
	b, err := json.Marshal(registry.AuthConfig{
		Username: auth.Username, Password: auth.Password, ServerAddress: auth.ServerAddress,
		IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
	})
	return base64.URLEncoding.EncodeToString(b), err
}

// AuthKey is the key of a registry's credentials in config.json.
func AuthKey(host string) string {
	if host == "docker.io" || host == "index.docker.io" {
		return hubKey
	}
	return host
}

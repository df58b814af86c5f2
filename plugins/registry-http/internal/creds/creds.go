// Package creds finds the credentials that a host's configuration offers for
// a registry: Docker's config.json and the credential helpers that it names.
//
// Helpers are programs of the administrator's choice, run by a daemon: with a
// deadline, no terminal, and what they print never logged.
package creds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"

	"github.com/strakehq/strake/sdk/registry"
)

// Store answers from files. It is safe for concurrent use.
type Store struct {
	// Files are config.json files; the first that has something for a host
	// wins.
	Files []string
	// HelperTimeout bounds one run of a helper.
	HelperTimeout time.Duration
	// HelperLife is how long a helper's answer is used again.
	HelperLife time.Duration

	mu     sync.Mutex
	helped map[string]answer // guarded by mu
}

type answer struct {
	creds registry.Credentials
	until time.Time
}

// dockerHub is the key under which Docker keeps the credentials of docker.io.
const dockerHub = "https://index.docker.io/v1/"

// Lookup returns a host's credentials, empty ones when there are none. A file
// that cannot be read, or a helper that fails, is an error: going on without
// credentials would look like wrong ones.
func (s *Store) Lookup(ctx context.Context, host string) (registry.Credentials, error) {
	for _, f := range s.Files {
		c, err := s.fromFile(ctx, f, host)
		if err != nil {
			return registry.Credentials{}, fmt.Errorf("credentials for %s: %s: %w", host, f, err)
		}
		if c != (registry.Credentials{}) {
			return c, nil
		}
	}
	return registry.Credentials{}, nil
}

func (s *Store) fromFile(ctx context.Context, path, host string) (registry.Credentials, error) {
	var none registry.Credentials
	file, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	keys := aliases(host)
	for _, k := range keys {
		if helper := file.CredentialHelpers[k]; helper != "" {
			return s.ask(ctx, helper, keys[0])
		}
	}
	if file.CredentialsStore != "" {
		if c, err := s.ask(ctx, file.CredentialsStore, keys[0]); err != nil || c != none {
			return c, err
		}
	}
	return fromAuths(file, keys), nil
}

// load parses a config.json. Its errors never quote the content.
func load(path string) (*configfile.ConfigFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	cf, err := parse(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return cf, nil
}

func parse(r io.Reader) (*configfile.ConfigFile, error) {
	cf, err := config.LoadFromReader(r)
	if err != nil {
		return nil, fmt.Errorf("not a Docker config.json: %w", errdefs.ErrInvalidArgument)
	}
	return cf, nil
}

func fromAuths(file *configfile.ConfigFile, keys []string) registry.Credentials {
	for _, k := range keys {
		for _, stored := range []string{k, "https://" + k, "http://" + k, "https://" + k + "/", "https://" + k + "/v2/", "https://" + k + "/v1/"} {
			a, ok := file.AuthConfigs[stored]
			if !ok {
				continue
			}
			if a.IdentityToken != "" {
				a.Username, a.Password = "", ""
			}
			return registry.Credentials{
				Username: a.Username, Password: registry.Secret(a.Password),
				IdentityToken: registry.Secret(a.IdentityToken), RegistryToken: registry.Secret(a.RegistryToken),
			}
		}
	}
	return registry.Credentials{}
}

// aliases are the keys under which a host's credentials are kept, the one that
// helpers are asked with first.
func aliases(host string) []string {
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return []string{dockerHub, "docker.io", "index.docker.io", "registry-1.docker.io"}
	default:
		return []string{host}
	}
}

// Package system answers for the daemon as a whole: its version, what it and
// the machine are, a login at a registry, and the disk space in use.
package system

import (
	"context"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/api/drivers"
	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/api/system"
	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/core/spec"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/storage"
)

// Drivers describes and hands out drivers.
type Drivers interface {
	Drivers(ctx context.Context) ([]drivers.Driver, error)
	Registry(host string) (registry.Driver, error)
	Storage() storage.Driver
}

// Containers lists containers.
type Containers interface {
	List(ctx context.Context, o containers.ListOptions) ([]container.Summary, error)
}

// Images lists images.
type Images interface {
	List(ctx context.Context, o images.ListOptions) ([]image.Summary, error)
}

// Volumes lists volumes with their sizes and numbers of users.
type Volumes interface {
	Usage(ctx context.Context) ([]volume.Volume, error)
}

// Config is what a System needs.
type Config struct {
	Settings   *config.Config
	Machine    spec.Machine
	Drivers    Drivers
	Containers Containers
	Images     Images
	Volumes    Volumes
}

// System is the backend of the system routes. It is safe for concurrent use.
type System struct {
	Config
	id   string
	host host
	oci  ociRuntimes
}

var _ system.Backend = (*System)(nil)

// New reads what does not change while the daemon runs.
func New(c Config) (*System, error) {
	id, err := engineID(c.Settings.StateDir)
	if err != nil {
		return nil, err
	}
	h, err := readHost()
	if err != nil {
		return nil, err
	}
	return &System{Config: c, id: id, host: h}, nil
}

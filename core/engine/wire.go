package engine

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/api"
	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/api/drivers"
	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/api/networks"
	"github.com/strakehq/strake/core/api/profile"
	"github.com/strakehq/strake/core/api/router"
	apisystem "github.com/strakehq/strake/core/api/system"
	"github.com/strakehq/strake/core/api/volumes"
	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/driver"
	"github.com/strakehq/strake/core/gc"
	"github.com/strakehq/strake/core/image"
	"github.com/strakehq/strake/core/system"
	"github.com/strakehq/strake/core/trace"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/version"

	sdk "github.com/strakehq/strake/sdk/driver"
)

func (e *Engine) containerConfig() container.Config {
	c := e.config
	return container.Config{
		Store: e.store, StateDir: c.StateDir, RunDir: c.RunDir,
		Images: e.images, Drivers: e.drivers, Networks: e.networks, Volumes: e.volumes, Events: e.bus,
		Log: e.log.Named("container"), StorageDriver: c.Storage.InstanceName(),
		Libexec: c.SearchDirs(), CgroupParent: c.CgroupParent, IDs: e.ids, Machine: &e.machine, Pin: e.images.Collector().Pin,
	}
}

// recover brings the world in line with the records, or the records with the
// world. A driver that is not there costs what it serves, not the start.
func (e *Engine) recover(ctx context.Context) error {
	e.drivers.OnRecovered(sdk.Network, e.networks.Recovered)
	e.drivers.OnRecovered(sdk.Runtime, e.containers.RecoverRuntime)
	e.drivers.OnRecovered(sdk.Runtime, e.containers.RetryRemovals)
	e.drivers.OnRecovered(sdk.Storage, e.containers.RetryRemovals)
	if err := e.networks.Start(ctx); err != nil {
		return err
	}
	if err := e.networks.Keep(ctx, e.containers.Exists); err != nil {
		e.log.Warn("lost containers have not all left their networks", "err", err)
	}
	if err := e.volumes.Collect(ctx, e.containers.Exists); err != nil {
		e.log.Warn("volumes of lost containers are not all released", "err", err)
	}
	mishap.Hit(mishap.Recovering)
	if err := e.containers.Recover(ctx); err != nil {
		return err
	}
	mishap.Hit(mishap.Recovered)
	e.images.Collector().AddSource(snapshots{e.containers})
	return nil
}

// api puts the routes of all nouns together.
func (e *Engine) api() (http.Handler, error) {
	sys, err := system.New(system.Config{
		Settings: e.config, Machine: e.machine, Drivers: e.drivers,
		Containers: e.containers, Images: e.images, Volumes: e.volumes,
	})
	if err != nil {
		return nil, err
	}
	log := e.log.Named("api")
	var profiles []router.Route
	if log.IsDebug() {
		profiles = profile.Routes()
	}
	return e.traces.Middleware(api.New(api.Config{
		Version: version.Version, Logger: log,
		Routes: slices.Concat(
			apisystem.Routes(sys, e.bus), containers.Routes(defaults{e.containers, e.config.Containers}, log), images.Routes(e.images),
			networks.Routes(e.networks, e.containers), volumes.Routes(e.volumes), drivers.Routes(ours{e.drivers, e.traces}),
			profiles,
		),
	})), nil
}

// ours is the backend of Strake's own routes.
type ours struct {
	*driver.Host
	*trace.Store
}

var _ drivers.Backend = ours{}

// users tells the images which containers use them. The containers are made
// after the images.
type users struct{ engine *Engine }

var _ image.Users = users{}

// ImageUsers implements image.Users.
func (u users) ImageUsers(ctx context.Context, id digest.Digest) ([]image.User, error) {
	all, err := u.engine.containers.List(ctx, containers.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	var using []image.User
	for _, c := range all {
		if c.ImageID == id.String() {
			using = append(using, image.User{ContainerID: c.ID, Running: c.State == "running" || c.State == "paused" || c.State == "restarting"})
		}
	}
	return using, nil
}

// snapshots are the roots that containers hold.
type snapshots struct{ containers *container.Manager }

var _ gc.Source = snapshots{}

// Roots implements gc.Source.
func (s snapshots) Roots(context.Context) (gc.Roots, error) {
	return gc.Roots{Snapshots: s.containers.Snapshots()}, nil
}

// stopContainers stops all that run, side by side, each with its own timeout.
func (e *Engine) stopContainers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return e.each(ctx, false, func(id string) error { return e.containers.Stop(ctx, id, containers.StopOptions{}) })
}

// Package container owns containers: their records, the one state machine that
// moves them, and the orchestration of storage, network and runtime around it.
package container

import (
	"context"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/sys/user"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

// Image is what a container needs to know of its image.
type Image struct {
	ID digest.Digest
	// ChainID names the top layer's committed snapshot; empty for an image
	// without layers.
	ChainID storage.SnapshotKey
	// Config is the image's execution config in Docker's form (with
	// Healthcheck, OnBuild and Shell).
	Config container.Config
	// Manifest describes the platform manifest, if known.
	Manifest *ocispec.Descriptor
	Platform ocispec.Platform
}

// Images finds local images.
type Images interface {
	// Get finds an image by id, unique id prefix or reference. ErrNotFound:
	// "No such image: …".
	Get(ctx context.Context, ref string) (Image, error)
}

// Drivers hands out drivers. The values stay valid when a driver is relaunched.
type Drivers interface {
	Storage() storage.Driver
	// Runtime finds a runtime driver and the OCI runtime to ask of it by the
	// name that a user gave; empty is the default.
	Runtime(name string) (d runtime.Driver, driverName, ociRuntime string, err error)
}

// Networks attaches containers to networks.
type Networks interface {
	// Plan checks a container's network settings against what exists and
	// fills in defaults, without side effects: unknown networks, addresses
	// outside a subnet, ports with host networking.
	Plan(ctx context.Context, h *container.HostConfig, n *apinetwork.NetworkingConfig) error
	// Namespace makes the container's network namespace, so that its process
	// can be created while Attach is under way. It returns the namespace's
	// path, empty for host mode. Idempotent; undone by Detach.
	Namespace(ctx context.Context, r NetworkRequest) (path string, err error)
	// Attach makes the container's network namespace, unless it is there, and
	// joins its networks. Idempotent; undone by Detach.
	Attach(ctx context.Context, r NetworkRequest) (NetworkState, error)
	// Detach leaves all networks and removes the namespace.
	Detach(ctx context.Context, id string) error
	// Recover checks and repairs the attachment of a container that runs on
	// after a restart of the daemon or the driver.
	Recover(ctx context.Context, id string) (NetworkState, error)
	// Join has a running container join one more network, by id or name, and
	// Leave leave one. Both return the container's new state.
	Join(ctx context.Context, r NetworkRequest, network string, s *apinetwork.EndpointSettings) (NetworkState, error)
	Leave(ctx context.Context, r NetworkRequest, network string) (NetworkState, error)
	// Renamed tells the new name of a container, under which others find it.
	Renamed(id, name string) error
}

// NetworkRequest describes a container to the network manager.
type NetworkRequest struct {
	ID       string
	Name     string
	Hostname string
	Config   *container.Config
	Host     *container.HostConfig
	// IDs is how a user namespace of the container's own maps ids, which is to
	// own its network namespace; nil: there is none.
	IDs *user.IdentityMapping
	// Endpoints are the networks to join, by name or id.
	Endpoints map[string]*apinetwork.EndpointSettings
}

// NetworkState is what a container sees and what inspect shows.
type NetworkState struct {
	// NetNS is the path of the namespace; empty for host mode.
	NetNS string
	// Endpoints are the joined networks by name, operational data filled in.
	Endpoints map[string]*apinetwork.EndpointSettings
	// Ports as published.
	Ports apinetwork.PortMap
	// Nameservers, Search and Options for resolv.conf.
	Nameservers, Search, Options []string
	// Addresses are the container's own, for its hosts file.
	Addresses []string
}

// Volumes resolves volume names to directories.
type Volumes interface {
	// Use makes the volume if needed and counts the container as its user;
	// an empty name makes an anonymous one. Idempotent.
	Use(ctx context.Context, name, driver string, opts, labels map[string]string, containerID string) (VolumeMount, error)
	// Release ends the use by a container; with removeAnonymous its anonymous
	// volumes are removed.
	Release(ctx context.Context, containerID string, removeAnonymous bool) error
}

// VolumeMount is a volume in use.
type VolumeMount struct {
	Name, Driver, Path string
	// Fresh: nobody has used it yet, so it takes over the image's content.
	Fresh bool
}

// Events publishes what happened.
type Events interface {
	Publish(t events.Type, a events.Action, id string, attrs map[string]string)
}

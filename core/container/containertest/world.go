package containertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

// Storage is a storage driver whose snapshots are copies of one directory,
// bound as they are.
type Storage struct {
	driver.Base
	Dir string
	// PrepareErr fails Prepare.
	PrepareErr error
	// RemoveErr fails Remove.
	RemoveErr error
	// Removing is called by Remove, if it is set.
	Removing func()

	mu  sync.Mutex
	all map[storage.SnapshotKey]bool // guarded by mu
}

var _ storage.Driver = (*Storage)(nil)

// Info implements driver.Driver.
func (s *Storage) Info(context.Context) (driver.Info, error) {
	return driver.Info{Kind: driver.Storage, Name: "fake"}, nil
}

// Configure implements driver.Driver.
func (s *Storage) Configure(context.Context, driver.Config) error { return nil }

// Has says whether a snapshot exists.
func (s *Storage) Has(key storage.SnapshotKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[key]
}

// Root is where a snapshot lies.
func (s *Storage) Root(key storage.SnapshotKey) string { return filepath.Join(s.Dir, string(key)) }

// Prepare implements storage.Driver with a root that has two accounts and a
// directory with something in it.
func (s *Storage) Prepare(ctx context.Context, key, _ storage.SnapshotKey, _ storage.PrepareOptions) ([]mount.Mount, error) {
	if s.PrepareErr != nil {
		return nil, s.PrepareErr
	}
	root := s.Root(key)
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(root, "data", "sub"), 0o750); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"etc/passwd":      "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n",
		"etc/group":       "root:x:0:\nweb:x:33:\nextra:x:44:web\n",
		"data/sub/egg":    "white",
		"data/sub/nested": "yolk",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o640); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	if s.all == nil {
		s.all = map[storage.SnapshotKey]bool{}
	}
	s.all[key] = true
	s.mu.Unlock()
	return s.Mounts(ctx, key)
}

// View implements storage.Driver.
func (s *Storage) View(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return s.Prepare(ctx, key, parent, o)
}

// Mounts implements storage.Driver.
func (s *Storage) Mounts(_ context.Context, key storage.SnapshotKey) ([]mount.Mount, error) {
	if !s.Has(key) {
		return nil, fmt.Errorf("snapshot %s: %w", key, errdefs.ErrNotFound)
	}
	return []mount.Mount{{Type: "bind", Source: s.Root(key), Options: []string{"rbind"}}}, nil
}

// Commit implements storage.Driver.
func (s *Storage) Commit(context.Context, storage.SnapshotKey, storage.SnapshotKey, storage.CommitOptions) error {
	return fmt.Errorf("commit: %w", errdefs.ErrNotImplemented)
}

// Remove implements storage.Driver.
func (s *Storage) Remove(_ context.Context, key storage.SnapshotKey) error {
	if s.Removing != nil {
		s.Removing()
	}
	if s.RemoveErr != nil {
		return s.RemoveErr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
	return os.RemoveAll(s.Root(key))
}

// Stat implements storage.Driver.
func (s *Storage) Stat(_ context.Context, key storage.SnapshotKey) (storage.Snapshot, error) {
	return storage.Snapshot{Key: key, Kind: storage.Active}, nil
}

// Usage implements storage.Driver.
func (s *Storage) Usage(context.Context, storage.SnapshotKey) (storage.Usage, error) {
	return storage.Usage{Bytes: 100}, nil
}

// List implements storage.Driver.
func (s *Storage) List(context.Context) ([]storage.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []storage.Snapshot
	for k := range s.all {
		out = append(out, storage.Snapshot{Key: k, Kind: storage.Active})
	}
	return out, nil
}

// Sync implements storage.Driver.
func (s *Storage) Sync(context.Context) error { return nil }

// Collect implements storage.Driver.
func (s *Storage) Collect(context.Context, []storage.SnapshotKey) ([]storage.SnapshotKey, error) {
	return nil, nil
}

// Drivers hands out one driver of each kind.
type Drivers struct {
	Store *Storage
	Run   *Runtime
}

// Storage implements container.Drivers.
func (d Drivers) Storage() storage.Driver { return d.Store }

// Runtime implements container.Drivers.
func (d Drivers) Runtime(name string) (runtime.Driver, string, string, error) {
	if name != "" && name != "fake" {
		return nil, "", "", fmt.Errorf("runtime %s: %w", name, errdefs.ErrInvalidArgument)
	}
	return d.Run, "fake", "", nil
}

// Networks attaches nothing, and remembers whom.
type Networks struct {
	// AttachErr fails Attach.
	AttachErr error

	mu       sync.Mutex
	attached map[string]bool // guarded by mu
}

// Attached says whether a container is attached.
func (n *Networks) Attached(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attached[id]
}

// Plan implements container.Networks.
func (n *Networks) Plan(context.Context, *apicontainer.HostConfig, *apinetwork.NetworkingConfig) error {
	return nil
}

// Namespace implements container.Networks.
func (n *Networks) Namespace(_ context.Context, r container.NetworkRequest) (string, error) {
	return "/run/netns/" + r.ID, nil
}

// Renamed implements container.Networks.
func (n *Networks) Renamed(string, string) error { return nil }

// Join implements container.Networks.
func (n *Networks) Join(context.Context, container.NetworkRequest, string, *apinetwork.EndpointSettings) (container.NetworkState, error) {
	return container.NetworkState{}, nil
}

// Leave implements container.Networks.
func (n *Networks) Leave(context.Context, container.NetworkRequest, string) (container.NetworkState, error) {
	return container.NetworkState{}, nil
}

// Attach implements container.Networks.
func (n *Networks) Attach(_ context.Context, r container.NetworkRequest) (container.NetworkState, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.AttachErr != nil {
		return container.NetworkState{}, n.AttachErr
	}
	if n.attached == nil {
		n.attached = map[string]bool{}
	}
	n.attached[r.ID] = true
	return container.NetworkState{NetNS: "/run/netns/" + r.ID, Addresses: []string{"192.0.2.7"}, Nameservers: []string{"192.0.2.1"}}, nil
}

// Detach implements container.Networks.
func (n *Networks) Detach(_ context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.attached, id)
	return nil
}

// Recover implements container.Networks.
func (n *Networks) Recover(_ context.Context, id string) (container.NetworkState, error) {
	return container.NetworkState{NetNS: "/run/netns/" + id}, nil
}

// Images is a set of images by reference.
type Images map[string]container.Image

// Get implements container.Images.
func (i Images) Get(_ context.Context, ref string) (container.Image, error) {
	img, ok := i[ref]
	if !ok {
		return img, fmt.Errorf("No such image: %s: %w", ref, errdefs.ErrNotFound) //nolint:staticcheck // Docker's words
	}
	return img, nil
}

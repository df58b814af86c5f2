// Package image owns local images: their records, their names, and the way
// from a registry or an archive to snapshots and back.
//
// An image's id is the digest of its configuration, as in Docker. Its record
// names the blobs in the content store (manifest, configuration, layers as they
// came) and, through the layers' diff ids, the committed snapshots in the
// storage driver. A record is written last: whoever finds an image finds all of
// it. What a daemon that was killed had begun is held by a lease for the next
// try, or swept.
package image

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/content"
	"github.com/strakehq/strake/core/gc"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/core/unpack"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/storage"
)

// Drivers hands out drivers.
type Drivers interface {
	Storage() storage.Driver
	Registry(host string) (registry.Driver, error)
}

// User is a container made from an image.
type User struct {
	ContainerID string
	Running     bool
}

// Users knows which containers use an image.
type Users interface {
	ImageUsers(ctx context.Context, image digest.Digest) ([]User, error)
}

// Config is what a Service is made of.
type Config struct {
	// Dir is where content and leases are kept.
	Dir     string
	Store   *store.Store
	Drivers Drivers
	Events  container.Events
	// Users may be nil: no image is in use.
	Users  Users
	Unpack unpack.Options
	Log    hclog.Logger
}

// Service serves images. It is safe for concurrent use.
type Service struct {
	c         Config
	log       hclog.Logger
	content   *content.Store
	leases    *gc.Leases
	collector *gc.Collector
	unpacker  *unpack.Unpacker

	// write serializes changes of records, so that what is decided on the
	// index still holds when it is written.
	write sync.Mutex
	mu    sync.RWMutex
	index index                        // guarded by mu
	ready map[storage.SnapshotKey]bool // guarded by mu; chains known to be unpacked
}

var (
	_ images.Backend   = (*Service)(nil)
	_ container.Images = (*Service)(nil)
	_ gc.Source        = (*Service)(nil)
)

// Open reads the records and opens the content store below c.Dir.
func Open(c Config) (*Service, error) {
	s := &Service{c: c, log: c.Log.Named("image"), ready: map[storage.SnapshotKey]bool{}}
	var err error
	if s.content, err = content.Open(filepath.Join(c.Dir, "content"), c.Store.BootID()); err != nil {
		return nil, err
	}
	if s.leases, err = gc.OpenLeases(filepath.Join(c.Dir, "leases"), c.Store.BootID()); err != nil {
		return nil, err
	}
	s.unpacker = unpack.New(s.content, c.Drivers, c.Unpack, c.Log)
	s.collector = gc.New(s.content, c.Drivers, s.leases, c.Log)
	s.collector.AddSource(s)
	if s.index, err = loadIndex(c.Store); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return s, nil
}

// Collector is the garbage collector of content and snapshots. Whoever opened
// the Service adds the other sources of roots to it and runs it.
func (s *Service) Collector() *gc.Collector { return s.collector }

// Roots implements gc.Source.
func (s *Service) Roots(context.Context) (gc.Roots, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var r gc.Roots
	for _, rec := range s.index.images {
		r.Blobs = append(r.Blobs, rec.blobs()...)
		r.Snapshots = append(r.Snapshots, rec.chains()...)
	}
	return r, nil
}

// Package gc removes blobs and snapshots that nothing needs any more: mark and
// sweep from roots, which are image records, containers and leases.
//
// An operation that makes or relies on something takes a Lease on it first. A
// collection excludes the growing of leases and nothing else, so it is never in
// the way of a download: a pull waits for it at most when it begins.
package gc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/content"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/storage"
	"github.com/strakehq/strake/sdk/trace"
)

// Source knows what must stay. An error ends the collection with nothing
// removed.
type Source interface {
	Roots(ctx context.Context) (Roots, error)
}

// Storage hands out the storage driver.
type Storage interface {
	Storage() storage.Driver
}

// Report says what a collection removed.
type Report struct {
	Blobs     []digest.Digest
	BlobBytes int64
	Snapshots []storage.SnapshotKey
}

// Collector collects in the background. It is safe for concurrent use.
type Collector struct {
	content *content.Store
	storage Storage
	leases  *Leases
	log     hclog.Logger
	wake    chan struct{}

	pins map[*pin]struct{} // guarded by leases.mu

	mu      sync.Mutex
	sources []Source // guarded by mu
}

const (
	timeout = 2 * time.Minute
	pause   = 50 * time.Millisecond // gathers the removals of one command
)

// New makes a collector. Sources are added before Run.
func New(c *content.Store, s Storage, l *Leases, log hclog.Logger) *Collector {
	return &Collector{content: c, storage: s, leases: l, log: log.Named("gc"), wake: make(chan struct{}, 1)}
}

// AddSource adds roots. A collection before all sources are there would remove
// what they need.
func (c *Collector) AddSource(s Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sources = append(c.sources, s)
}

// Trigger asks for a collection soon. It does not wait.
func (c *Collector) Trigger() {
	select {
	case c.wake <- struct{}{}:
	default: // one is on its way
	}
}

// Run collects once and after every Trigger, until ctx ends.
func (c *Collector) Run(ctx context.Context) {
	c.Trigger()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if _, err := c.Collect(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("collection failed, the next removal tries again", "err", err)
		}
	}
}

// Collect removes what nothing needs, now.
func (c *Collector) Collect(ctx context.Context) (rep Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, end := trace.Start(ctx, "collect garbage")
	defer func() { end(err) }()
	if err := c.leases.Expire(false); err != nil {
		return rep, err
	}
	c.leases.mu.Lock()
	defer c.leases.mu.Unlock()
	blobs, snapshots, err := c.mark(ctx)
	if err != nil {
		return rep, fmt.Errorf("collect garbage: %w", err)
	}
	mishap.Hit(mishap.GarbageMarked)
	var serr, cerr error
	rep.Snapshots, serr = c.storage.Storage().Collect(ctx, snapshots)
	got, cerr := c.content.Collect(ctx, func(d digest.Digest) bool { return blobs[d] })
	rep.Blobs, rep.BlobBytes = got.Blobs, got.Bytes
	if len(rep.Snapshots)+len(rep.Blobs) > 0 {
		c.log.Info("collected", "snapshots", len(rep.Snapshots), "blobs", len(rep.Blobs), "bytes", rep.BlobBytes)
	}
	if err := errors.Join(serr, cerr); err != nil {
		return rep, fmt.Errorf("collect garbage: %w", err)
	}
	return rep, nil
}

// mark gathers all roots; leases.mu is held.
func (c *Collector) mark(ctx context.Context) (map[digest.Digest]bool, []storage.SnapshotKey, error) {
	c.mu.Lock()
	sources := c.sources
	c.mu.Unlock()
	var all []Roots
	for _, le := range c.leases.live {
		all = append(all, le.rec.Roots)
	}
	for p := range c.pins {
		all = append(all, Roots{Snapshots: p.keys})
	}
	for _, s := range sources {
		r, err := s.Roots(ctx)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, r)
	}
	blobs := map[digest.Digest]bool{}
	seen := map[storage.SnapshotKey]bool{}
	var keep []storage.SnapshotKey
	for _, r := range all {
		for _, b := range r.Blobs {
			blobs[b] = true
		}
		for _, k := range slices.Concat(r.Snapshots, r.Temporary) {
			if !seen[k] {
				seen[k] = true
				keep = append(keep, k)
			}
		}
	}
	return blobs, keep, nil
}

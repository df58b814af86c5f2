package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/unpack"
	"github.com/strakehq/strake/sdk/storage"
	"github.com/strakehq/strake/sdk/trace"
)

// find looks an image up as Docker does: a full id, then a reference, then a
// unique prefix of an id.
func (s *Service) find(ref string) (record, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.find(ref)
}

func (x index) find(ref string) (record, error) {
	if r, ok := x.images[digest.Digest("sha256:"+strings.TrimPrefix(ref, "sha256:"))]; ok {
		return r, nil
	}
	parsed, err := reference.ParseAnyReference(ref)
	if err != nil {
		return record{}, fmt.Errorf("%q: %w: %w", ref, err, errdefs.ErrInvalidArgument)
	}
	named, isNamed := parsed.(reference.Named)
	if isNamed {
		named = reference.TagNameOnly(named)
		if n, ok := x.names[key(named)]; ok {
			return x.images[n.Image], nil
		}
		if c, ok := named.(reference.Canonical); ok {
			for _, r := range x.images { // name@digest of an image pulled by another name
				if r.ID == c.Digest() && x.hasRepository(r.ID, named.Name()) {
					return r, nil
				}
			}
		}
	}
	if r, ok, err := x.byPrefix(ref); ok || err != nil {
		return r, err
	}
	if isNamed {
		ref = reference.FamiliarString(named)
	}
	return record{}, fmt.Errorf("No such image: %s: %w", ref, errdefs.ErrNotFound) //nolint:staticcheck // Docker's words
}

func (x index) hasRepository(id digest.Digest, repo string) bool {
	for _, n := range x.namesOf(id) {
		if strings.HasPrefix(n, repo+":") || strings.HasPrefix(n, repo+"@") {
			return true
		}
	}
	return false
}

// byPrefix finds the one image whose id begins so.
func (x index) byPrefix(prefix string) (found record, ok bool, err error) {
	prefix = strings.TrimPrefix(prefix, "sha256:")
	if prefix == "" || strings.Trim(prefix, "0123456789abcdef") != "" {
		return found, false, nil
	}
	for id, r := range x.images {
		if !strings.HasPrefix(id.Encoded(), prefix) {
			continue
		}
		if ok {
			return record{}, false, fmt.Errorf("image id prefix %s is ambiguous, give more of it: %w", prefix, errdefs.ErrInvalidArgument)
		}
		found, ok = r, true
	}
	return found, ok, nil
}

// key is how a reference is stored. A reference with tag and digest is its
// digest.
func key(ref reference.Named) string {
	if c, ok := ref.(reference.Canonical); ok {
		if d, err := reference.WithDigest(reference.TrimNamed(ref), c.Digest()); err == nil {
			return d.String()
		}
	}
	return reference.TagNameOnly(ref).String()
}

// maxConfig bounds an image configuration, in bytes.
const maxConfig = 8 << 20

// config reads an image's configuration. The config object keeps Docker's own
// fields, which OCI does not have.
type config struct {
	ocispec.Image

	Config    json.RawMessage `json:"config"`
	Comment   string          `json:"comment"`
	OSVersion string          `json:"os.version"`
}

func (s *Service) config(r record) (config, error) {
	var c config
	data, err := s.content.ReadAll(r.Config.Digest, maxConfig)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return c, fmt.Errorf("image %s: configuration: %w", short(r.ID), err)
	}
	return c, nil
}

// Get implements container.Images. An image whose snapshots the storage driver
// does not have, because the driver is another than it was, is unpacked again
// from the content store.
func (s *Service) Get(ctx context.Context, ref string) (container.Image, error) {
	r, err := s.find(ref)
	if err != nil {
		return container.Image{}, err
	}
	c, err := s.config(r)
	if err != nil {
		return container.Image{}, err
	}
	img := container.Image{ID: r.ID, ChainID: r.chain(), Manifest: &r.Manifest, Platform: r.Platform}
	if len(c.Config) > 0 {
		if err := json.Unmarshal(c.Config, &img.Config); err != nil {
			return img, fmt.Errorf("image %s: configuration: %w: %w", short(r.ID), err, errdefs.ErrDataLoss)
		}
	}
	if img.Config.Image != "" || img.Config.Hostname != "" { // of the container that it was committed from
		img.Config.Image, img.Config.Hostname, img.Config.Domainname = "", "", ""
	}
	return img, s.ensureUnpacked(ctx, r)
}

func (s *Service) ensureUnpacked(ctx context.Context, r record) error {
	chain := r.chain()
	s.mu.RLock()
	ready := s.ready[chain]
	s.mu.RUnlock()
	if ready || chain == "" {
		return nil
	}
	_, err := s.c.Drivers.Storage().Stat(ctx, chain)
	if errdefs.IsNotFound(err) {
		err = s.unpackAgain(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", short(r.ID), err)
	}
	s.markReady(chain)
	return nil
}

func (s *Service) markReady(chain storage.SnapshotKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready[chain] = true
}

func (s *Service) unpackAgain(ctx context.Context, r record) (err error) {
	ctx, end := trace.Start(ctx, "unpack image from local content")
	defer func() { end(err) }()
	s.log.Info("snapshots are not there, unpacking again", "image", r.ID)
	lease, err := s.leases.Take("unpack " + r.ID.String())
	if err != nil {
		return err
	}
	fetch := func(_ context.Context, d ocispec.Descriptor, _ int64) (io.ReadCloser, error) {
		return nil, fmt.Errorf("blob %s: is not there any more, pull the image again: %w", d.Digest, errdefs.ErrNotFound)
	}
	if _, err := s.unpacker.Unpack(ctx, r.unpackLayers(), lease, fetch, func(int, unpack.Phase, int64, int64) {}); err != nil {
		lease.Leave()
		return err
	}
	if err := s.c.Drivers.Storage().Sync(ctx); err != nil {
		lease.Leave()
		return err
	}
	return lease.Release()
}

// short is the id as people see it.
func short(d digest.Digest) string {
	hex := d.Encoded()
	return hex[:min(12, len(hex))]
}

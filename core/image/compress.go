package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/gc"
)

// compressed returns the record with gzip layers where they are plain, as they
// are after docker load, so that a registry need not carry plain ones. The
// image's id stays: it is that of the configuration.
func (s *Service) compressed(ctx context.Context, r record, lease *gc.Lease) (record, error) {
	hold := func(d digest.Digest) error { return lease.Add(gc.Roots{Blobs: []digest.Digest{d}}) }
	changed := false
	layers := append([]layer(nil), r.Layers...)
	for i, l := range layers {
		if l.Blob.Digest != l.DiffID { // compressed already
			continue
		}
		d, err := s.gzip(ctx, l.Blob.Digest, hold)
		if err != nil {
			return r, fmt.Errorf("layer %s: compress: %w", l.Blob.Digest, err)
		}
		layers[i].Blob, changed = d, true
	}
	if !changed {
		return r, nil
	}
	r.Layers, r.Indexes = layers, nil
	var err error
	r.Manifest, err = s.makeManifest(ctx, r, hold)
	return r, err
}

func (s *Service) gzip(ctx context.Context, d digest.Digest, hold func(digest.Digest) error) (desc ocispec.Descriptor, err error) {
	b, err := s.content.Open(d)
	if err != nil {
		return desc, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	draft, err := s.content.Draft()
	if err != nil {
		return desc, err
	}
	z := gzip.NewWriter(draft)
	if _, err := io.Copy(z, b); err != nil {
		return desc, errors.Join(err, draft.Abort())
	}
	if err := z.Close(); err != nil {
		return desc, errors.Join(err, draft.Abort())
	}
	return draft.Commit(ctx, ocispec.MediaTypeImageLayerGzip, hold)
}

// makeManifest writes an OCI manifest for a record whose blobs are there.
func (s *Service) makeManifest(ctx context.Context, r record, hold func(digest.Digest) error) (ocispec.Descriptor, error) {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: r.Config, Layers: []ocispec.Descriptor{}}
	m.SchemaVersion = 2
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	for _, l := range r.Layers {
		m.Layers = append(m.Layers, l.Blob)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := hold(digest.FromBytes(data)); err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.content.Put(ctx, m.MediaType, data)
}

package image

import (
	"maps"
	"slices"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/core/unpack"
	"github.com/strakehq/strake/sdk/storage"
)

// record is an image. Key of its table: the id.
type record struct {
	ID       digest.Digest      `json:"id"`
	Manifest ocispec.Descriptor `json:"manifest"`
	Config   ocispec.Descriptor `json:"config"`
	Layers   []layer            `json:"layers"`
	// Indexes are the blobs that led to the manifest.
	Indexes  []ocispec.Descriptor `json:"indexes,omitempty"`
	Platform ocispec.Platform     `json:"platform"`
	// Created is the configuration's word, Stored ours.
	Created time.Time         `json:"created"`
	Stored  time.Time         `json:"stored"`
	Labels  map[string]string `json:"labels,omitempty"`
}

type layer struct {
	Blob   ocispec.Descriptor `json:"blob"`
	DiffID digest.Digest      `json:"diffId"`
	Size   int64              `json:"size"` // unpacked, in bytes
}

// name is a reference, by tag or digest, to an image. Key of its table: the
// normalized reference.
type name struct {
	Image digest.Digest `json:"image"`
	// Target is what the registry has under the reference, an index perhaps.
	Target ocispec.Descriptor `json:"target"`
	Tagged time.Time          `json:"tagged"`
}

var (
	imageTable = store.NewTable[record]("images")
	nameTable  = store.NewTable[name]("image-names")
)

// index is all records in memory.
type index struct {
	images map[digest.Digest]record
	names  map[string]name
}

func loadIndex(s *store.Store) (index, error) {
	x := index{images: map[digest.Digest]record{}, names: map[string]name{}}
	return x, s.View(func(tx *store.Tx) error {
		if err := imageTable.Each(tx, func(_ string, r record) error {
			x.images[r.ID] = r
			return nil
		}); err != nil {
			return err
		}
		return nameTable.Each(tx, func(k string, n name) error {
			x.names[k] = n
			return nil
		})
	})
}

func (r record) unpackLayers() []unpack.Layer {
	out := make([]unpack.Layer, len(r.Layers))
	for i, l := range r.Layers {
		out[i] = unpack.Layer{Blob: l.Blob, DiffID: l.DiffID}
	}
	return out
}

func (r record) chains() []storage.SnapshotKey { return unpack.Chains(r.unpackLayers()) }

// chain is the top layer's snapshot; empty without layers.
func (r record) chain() storage.SnapshotKey {
	c := r.chains()
	if len(c) == 0 {
		return ""
	}
	return c[len(c)-1]
}

func (r record) blobs() []digest.Digest {
	out := []digest.Digest{r.Manifest.Digest, r.Config.Digest}
	for _, l := range r.Layers {
		out = append(out, l.Blob.Digest)
	}
	for _, x := range r.Indexes {
		out = append(out, x.Digest)
	}
	return out
}

// size is the sum of the unpacked layers, as Docker's.
func (r record) size() (n int64) {
	for _, l := range r.Layers {
		n += l.Size
	}
	return n
}

// namesOf returns the references to an image, sorted.
func (x index) namesOf(id digest.Digest) []string {
	var out []string
	for k, n := range x.names {
		if n.Image == id {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// split gives references their familiar form, tags and digests apart.
func split(names []string) (tags, digests []string) {
	tags, digests = []string{}, []string{}
	for _, n := range names {
		ref, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			continue // cannot be: it was parsed before it was stored
		}
		if _, ok := ref.(reference.Canonical); ok {
			digests = append(digests, reference.FamiliarString(ref))
		} else {
			tags = append(tags, reference.FamiliarString(ref))
		}
	}
	return tags, digests
}

// change is what one operation does to the records, in one transaction.
type change struct {
	put    *record
	drop   digest.Digest // empty: none
	name   map[string]name
	unname []string
}

// apply makes a change durable, then visible. The caller holds s.write.
func (s *Service) apply(c change) error {
	err := s.c.Store.Update(func(tx *store.Tx) error {
		if c.put != nil {
			if err := imageTable.Put(tx, c.put.ID.String(), *c.put); err != nil {
				return err
			}
		}
		for k, n := range c.name {
			if err := nameTable.Put(tx, k, n); err != nil {
				return err
			}
		}
		for _, k := range c.unname {
			if err := nameTable.Delete(tx, k); err != nil {
				return err
			}
		}
		if c.drop != "" {
			return imageTable.Delete(tx, c.drop.String())
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.put != nil {
		s.index.images[c.put.ID] = *c.put
	}
	maps.Copy(s.index.names, c.name)
	for _, k := range c.unname {
		delete(s.index.names, k)
	}
	delete(s.index.images, c.drop)
	return nil
}

package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageNameKey is the annotation by which containerd and Docker know an
// image's name in an OCI layout.
const imageNameKey = "io.containerd.image.name"

// dockerArchive is an entry of manifest.json, the format of docker save.
type dockerArchive struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// saved is an image to be written, with the names under which it was asked for.
type saved struct {
	record record
	names  []reference.Named
}

// Save implements images.Backend: an OCI layout that is a docker-archive as
// well. Blobs are those that came from the registry, compressed as they were.
func (s *Service) Save(ctx context.Context, refs []string, w io.Writer) error {
	list, err := s.toSave(refs)
	if err != nil {
		return err
	}
	lease, err := s.leases.Take("save " + strings.Join(refs, " "))
	if err != nil {
		return err
	}
	for _, x := range list {
		if err := lease.Add(rootsOf(x.record)); err != nil {
			return errors.Join(err, lease.Release())
		}
	}
	return errors.Join(s.save(ctx, list, w), lease.Release())
}

// toSave groups references by image. A repository without a tag means all of
// its tags, as in Docker.
func (s *Service) toSave(refs []string) ([]saved, error) {
	var out []saved
	add := func(r record, n reference.Named) {
		i := slices.IndexFunc(out, func(x saved) bool { return x.record.ID == r.ID })
		if i < 0 {
			out, i = append(out, saved{record: r}), len(out)
		}
		if n != nil {
			out[i].names = append(out[i].names, n)
		}
	}
	for _, ref := range refs {
		named, err := reference.ParseNormalizedNamed(ref)
		if err == nil && reference.IsNameOnly(named) {
			if tags, err := s.tagsOf(named); err == nil {
				for _, t := range tags {
					r, err := s.find(t.String())
					if err != nil {
						return nil, err
					}
					add(r, t)
				}
				continue
			}
		}
		r, err := s.find(ref)
		if err != nil {
			return nil, err
		}
		if _, tagged := named.(reference.Tagged); !tagged || isIDPrefix(r.ID, ref) {
			named = nil
		}
		add(r, named)
	}
	return out, nil
}

func (s *Service) save(ctx context.Context, list []saved, w io.Writer) error {
	var blobs []digest.Digest
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	index.SchemaVersion = 2
	var docker []dockerArchive
	for _, x := range list {
		r := x.record
		r.Indexes = nil // other platforms' manifests are not here
		blobs = append(blobs, r.blobs()...)
		a := dockerArchive{Config: blobName(r.Config.Digest), RepoTags: []string{}, Layers: []string{}}
		for _, l := range r.Layers {
			a.Layers = append(a.Layers, blobName(l.Blob.Digest))
		}
		d := r.Manifest
		d.Platform, d.Annotations = &r.Platform, nil
		for _, n := range x.names {
			named := d
			named.Annotations = map[string]string{imageNameKey: n.String(), ocispec.AnnotationRefName: tagOf(n)}
			index.Manifests = append(index.Manifests, named)
			a.RepoTags = append(a.RepoTags, reference.FamiliarString(n))
		}
		if len(x.names) == 0 {
			index.Manifests = append(index.Manifests, d)
		}
		docker = append(docker, a)
	}
	slices.Sort(blobs)
	t := &tarball{w: tar.NewWriter(w)}
	t.dir("blobs/")
	t.dir("blobs/sha256/")
	for _, d := range slices.Compact(blobs) {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.blob(s, d)
	}
	t.json(ocispec.ImageIndexFile, index)
	t.json("manifest.json", docker)
	t.json(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	return t.close()
}

func blobName(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

// tarball writes until the first error. What it writes depends on nothing but
// the images.
type tarball struct {
	w   *tar.Writer
	err error
}

func (t *tarball) entry(h tar.Header, r io.Reader) {
	if t.err != nil {
		return
	}
	h.ModTime, h.Format = time.Unix(0, 0), tar.FormatPAX
	if t.err = t.w.WriteHeader(&h); t.err == nil && r != nil {
		_, t.err = io.Copy(t.w, r)
	}
}

func (t *tarball) dir(name string) {
	t.entry(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, nil)
}

func (t *tarball) json(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		t.err = errors.Join(t.err, err)
		return
	}
	t.entry(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, strings.NewReader(string(data)))
}

func (t *tarball) blob(s *Service, d digest.Digest) {
	if t.err != nil {
		return
	}
	b, err := s.content.Open(d)
	if err != nil {
		t.err = err
		return
	}
	t.entry(tar.Header{Typeflag: tar.TypeReg, Name: blobName(d), Mode: 0o444, Size: b.Size()}, b)
	t.err = errors.Join(t.err, b.Close())
}

func (t *tarball) close() error {
	if t.err != nil {
		return fmt.Errorf("save: %w", t.err)
	}
	if err := t.w.Close(); err != nil {
		return fmt.Errorf("save: %w: %w", err, errdefs.ErrUnknown)
	}
	return nil
}

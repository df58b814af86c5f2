package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/gc"
	"github.com/strakehq/strake/core/unpack"
	"github.com/strakehq/strake/sdk/registry"
)

func rootsOf(r record) gc.Roots { return gc.Roots{Blobs: r.blobs(), Snapshots: r.chains()} }

// load is one archive on its way.
type load struct {
	s     *Service
	lease *gc.Lease
	send  images.Progress
	want  platforms.MatchComparer // nil: all platforms
	files archiveFiles
	// walked are the images below the manifests that walk has seen: each is
	// looked at once, however many ways lead there.
	walked map[digest.Digest][]record
}

// candidate is an image that the archive has, before it is listed.
type candidate struct {
	record record
	names  []reference.Named
}

// Load implements images.Backend.
func (s *Service) Load(ctx context.Context, r io.Reader, only []string, send images.Progress) (err error) {
	l := &load{s: s, send: send, walked: map[digest.Digest][]record{}}
	if l.want, err = wanted(only); err != nil {
		return err
	}
	if l.lease, err = s.leases.Take("load"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.lease.Release()) }()
	if l.files, err = s.readArchive(ctx, r, l.hold); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	list, err := l.candidates(ctx)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if len(list) == 0 {
		return fmt.Errorf("load: the archive has no image that is wanted (platforms: %v): %w", only, errdefs.ErrNotFound)
	}
	for _, c := range list {
		if err := l.store(ctx, c); err != nil {
			return fmt.Errorf("load: image %s: %w", short(c.record.ID), err)
		}
	}
	s.collector.Trigger() // files of the archive that no image needs
	return nil
}

func wanted(only []string) (platforms.MatchComparer, error) {
	var list []ocispec.Platform
	for _, o := range only {
		p, err := platforms.Parse(o)
		if err != nil {
			return nil, fmt.Errorf("platform %q: %w: %w", o, err, errdefs.ErrInvalidArgument)
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return platforms.Ordered(list...), nil
}

func (l *load) hold(d digest.Digest) error { return l.lease.Add(gc.Roots{Blobs: []digest.Digest{d}}) }

// store unpacks an image and lists it.
func (l *load) store(ctx context.Context, c candidate) error {
	if err := l.lease.Add(rootsOf(c.record)); err != nil {
		return err
	}
	report := func(i int, p unpack.Phase, current, total int64) {
		if p == unpack.Extracting {
			l.send(jsonstream.Message{
				ID: short(c.record.Layers[i].DiffID), Status: "Loading layer",
				Progress: &jsonstream.Progress{Current: current, Total: total},
			})
		}
	}
	fetch := func(_ context.Context, d ocispec.Descriptor, _ int64) (io.ReadCloser, error) {
		return nil, fmt.Errorf("the archive lacks layer %s: %w", d.Digest, errdefs.ErrInvalidArgument)
	}
	res, err := l.s.unpacker.Unpack(ctx, c.record.unpackLayers(), l.lease, fetch, report)
	if err != nil {
		return err
	}
	for i, n := range res.Sizes {
		c.record.Layers[i].Size = n
	}
	if err := l.s.sync(ctx); err != nil {
		return err
	}
	return l.list(c)
}

func (l *load) list(c candidate) error {
	s := l.s
	s.write.Lock()
	defer s.write.Unlock()
	names := map[string]name{}
	for _, n := range c.names {
		s.mu.RLock()
		old, had := s.index.names[key(n)]
		s.mu.RUnlock()
		if had && old.Image != c.record.ID {
			l.send(jsonstream.Message{Stream: fmt.Sprintf("The image %s already exists, renaming the old one with ID %s to empty string\n", reference.FamiliarString(n), old.Image)})
		}
		names[key(n)] = name{Image: c.record.ID, Target: c.record.Manifest, Tagged: time.Now().UTC()}
	}
	if err := s.apply(change{put: &c.record, name: names}); err != nil {
		return err
	}
	s.markReady(c.record.chain())
	for _, n := range c.names {
		l.send(jsonstream.Message{Stream: "Loaded image: " + reference.FamiliarString(n) + "\n"})
	}
	if len(c.names) == 0 {
		l.send(jsonstream.Message{Stream: "Loaded image ID: " + c.record.ID.String() + "\n"})
	}
	s.publish(events.ActionLoad, c.record.ID.String(), c.record.ID.String(), c.record)
	return nil
}

// candidates finds the images of the archive. Both formats may be there: the
// manifests of the OCI layout keep their digests, the names are Docker's.
func (l *load) candidates(ctx context.Context) ([]candidate, error) {
	oci, err := l.fromLayout()
	if err != nil {
		return nil, err
	}
	if _, ok := l.files.find("manifest.json"); !ok {
		if _, ok := l.files.find(ocispec.ImageIndexFile); !ok {
			return nil, fmt.Errorf("neither a docker-archive (no manifest.json) nor an OCI layout (no index.json): %w", errdefs.ErrInvalidArgument)
		}
		return oci, nil
	}
	data, err := l.read("manifest.json")
	if err != nil {
		return nil, err
	}
	entries, err := parseDockerArchive(data)
	if err != nil {
		return nil, err
	}
	var out []candidate
	for _, e := range entries {
		c, ok, err := l.fromDocker(ctx, e, oci)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, c)
		}
	}
	return out, nil
}

// parseDockerArchive reads manifest.json.
func parseDockerArchive(data []byte) ([]dockerArchive, error) {
	var entries []dockerArchive
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("manifest.json is malformed: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if len(entries) > maxImages {
		return nil, fmt.Errorf("manifest.json: %d images, at most %d are supported: %w", len(entries), maxImages, errdefs.ErrOutOfRange)
	}
	for _, e := range entries {
		if e.Config == "" {
			return nil, fmt.Errorf("manifest.json: an image has no Config: %w", errdefs.ErrInvalidArgument)
		}
		if len(e.Layers) > maxLayers {
			return nil, fmt.Errorf("manifest.json: an image has %d layers: %w", len(e.Layers), errdefs.ErrOutOfRange)
		}
		for _, t := range e.RepoTags {
			ref, err := reference.ParseNormalizedNamed(t)
			if err != nil {
				return nil, fmt.Errorf("manifest.json: tag %q: %w: %w", t, err, errdefs.ErrInvalidArgument)
			}
			if _, ok := ref.(reference.NamedTagged); !ok {
				return nil, fmt.Errorf("manifest.json: invalid tag %q: %w", t, errdefs.ErrInvalidArgument)
			}
		}
	}
	return entries, nil
}

// fromDocker makes the record of an entry of manifest.json.
func (l *load) fromDocker(ctx context.Context, e dockerArchive, oci []candidate) (candidate, bool, error) {
	var c candidate
	for _, t := range e.RepoTags {
		ref, err := reference.ParseNormalizedNamed(t)
		if err != nil {
			return c, false, err
		}
		c.names = append(c.names, ref)
	}
	conf, ok := l.files.find(e.Config)
	if !ok {
		return c, false, fmt.Errorf("manifest.json names %q, which is not in the archive: %w", e.Config, errdefs.ErrInvalidArgument)
	}
	for _, o := range oci {
		if o.record.ID == conf.Digest {
			c.record = o.record
			return c, true, nil
		}
	}
	data, err := l.read(e.Config)
	if err != nil {
		return c, false, err
	}
	parsed, err := parseConfig(data, len(e.Layers))
	if err != nil || l.want != nil && !l.want.Match(parsed.Platform) {
		return c, false, err
	}
	man := ocispec.Manifest{Config: conf}
	man.Config.MediaType = ocispec.MediaTypeImageConfig
	for i, name := range e.Layers {
		d, ok := l.files.find(name)
		if !ok {
			return c, false, fmt.Errorf("manifest.json names layer %q, which is not in the archive: %w", name, errdefs.ErrInvalidArgument)
		}
		if d.MediaType, err = l.s.layerType(d.Digest, parsed.RootFS.DiffIDs[i]); err != nil {
			return c, false, err
		}
		man.Layers = append(man.Layers, d)
	}
	c.record = newRecord(ocispec.Descriptor{}, man, parsed)
	c.record.Manifest, err = l.s.makeManifest(ctx, c.record, l.hold)
	return c, true, err
}

// layerType tells a layer's compression by its first bytes.
func (s *Service) layerType(d, diffID digest.Digest) (string, error) {
	if d == diffID {
		return ocispec.MediaTypeImageLayer, nil
	}
	b, err := s.content.Open(d)
	if err != nil {
		return "", err
	}
	magic := make([]byte, 4)
	n, err := io.ReadFull(b, magic)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err := errors.Join(err, b.Close()); err != nil {
		return "", err
	}
	if strings.HasPrefix(string(magic[:n]), "\x28\xb5\x2f\xfd") {
		return ocispec.MediaTypeImageLayerZstd, nil
	}
	return ocispec.MediaTypeImageLayerGzip, nil
}

func (l *load) read(name string) ([]byte, error) {
	d, ok := l.files.find(name)
	if !ok {
		return nil, fmt.Errorf("%s is not in the archive: %w", name, errdefs.ErrInvalidArgument)
	}
	data, err := l.s.content.ReadAll(d.Digest, registry.MaxManifestSize)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	apiregistry "github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/gc"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/trace"
)

// Pull implements images.Backend.
func (s *Service) Pull(ctx context.Context, o images.PullOptions, send images.Progress) error {
	ref, err := parse(o.Image, o.Tag)
	if err != nil {
		return err
	}
	if !o.All || !reference.IsNameOnly(ref) {
		return s.pull(ctx, reference.TagNameOnly(ref), o, send)
	}
	p, err := s.newPull(ref, o, send)
	if err != nil {
		return err
	}
	tags, err := p.driver.ListTags(ctx, p.repo)
	if err != nil {
		return pullError(err, ref, p.repo.Credentials)
	}
	for _, t := range tags {
		tagged, err := reference.WithTag(ref, t)
		if err != nil {
			return fmt.Errorf("tag %q of %s: %w: %w", t, reference.FamiliarName(ref), err, errdefs.ErrDataLoss)
		}
		if err := s.pull(ctx, tagged, o, send); err != nil {
			return err
		}
	}
	return nil
}

// parse joins a repository and a tag or digest beside it, as the API has them.
// The latter wins over a tag in the former.
func parse(repo, tag string) (reference.Named, error) {
	ref, err := reference.ParseNormalizedNamed(repo)
	if err == nil && tag != "" {
		ref = reference.TrimNamed(ref)
		if d := digest.Digest(tag); d.Validate() == nil {
			ref, err = reference.WithDigest(ref, d)
		} else {
			ref, err = reference.WithTag(ref, tag)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w: %w", strings.Trim(repo+":"+tag, ":"), err, errdefs.ErrInvalidArgument)
	}
	return ref, nil
}

func credentials(a apiregistry.AuthConfig) registry.Credentials {
	return registry.Credentials{
		Username: a.Username, Password: registry.Secret(a.Password),
		IdentityToken: registry.Secret(a.IdentityToken), RegistryToken: registry.Secret(a.RegistryToken),
	}
}

// pull is one pull on its way.
type pull struct {
	s      *Service
	ref    reference.Named
	repo   registry.Repository
	driver registry.Driver
	lease  *gc.Lease
	send   images.Progress
	want   platforms.MatchComparer
	asked  string // the platform, for people and for the lease
	forced bool   // the user named the platform

	target ocispec.Descriptor     // what the reference names
	tried  map[digest.Digest]bool // manifests of indexes that were looked at
	rec    record
}

func (s *Service) newPull(ref reference.Named, o images.PullOptions, send images.Progress) (*pull, error) {
	p := &pull{s: s, ref: ref, send: send, tried: map[digest.Digest]bool{}, forced: o.Platform != "", repo: registry.Repository{
		Host: reference.Domain(ref), Name: reference.Path(ref), Credentials: credentials(o.Auth),
	}}
	var err error
	if p.want, p.asked, err = matcher(o.Platform); err != nil {
		return nil, err
	}
	p.driver, err = s.c.Drivers.Registry(p.repo.Host)
	return p, err
}

func (s *Service) pull(ctx context.Context, ref reference.Named, o images.PullOptions, send images.Progress) (err error) {
	p, err := s.newPull(ref, o, send)
	if err != nil {
		return err
	}
	if p.lease, err = s.leases.Take("pull " + ref.String() + " " + p.asked); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.lease.Leave() // what has arrived serves the next try
		}
	}()
	fresh, err := p.run(ctx)
	if err != nil {
		return err
	}
	if err := p.lease.Release(); err != nil {
		return err
	}
	send(status("", "Digest: "+p.target.Digest.String()))
	word := "Image is up to date for "
	if fresh {
		word = "Downloaded newer image for "
	}
	send(status("", "Status: "+word+reference.FamiliarString(ref)))
	s.publish(events.ActionPull, reference.FamiliarString(ref), reference.FamiliarName(ref), p.rec)
	return nil
}

func (p *pull) run(ctx context.Context) (fresh bool, err error) {
	current, err := p.resolve(ctx)
	if err != nil {
		return false, err
	}
	p.send(status(tagOf(p.ref), "Pulling from "+reference.Path(p.ref)))
	if current {
		return false, nil
	}
	progress := newLayerProgress(p.send, p.rec.unpackLayers())
	fetch := func(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
		return p.driver.FetchBlob(ctx, p.repo, d, offset)
	}
	res, err := p.s.unpacker.Unpack(ctx, p.rec.unpackLayers(), p.lease, fetch, progress.report)
	if err != nil {
		return false, fmt.Errorf("%s: pull: %w", reference.FamiliarString(p.ref), err)
	}
	for i, n := range res.Sizes {
		p.rec.Layers[i].Size = n
	}
	if err := p.s.sync(ctx); err != nil {
		return false, fmt.Errorf("%s: pull: %w", reference.FamiliarString(p.ref), err)
	}
	mishap.Hit(mishap.LayersSynced)
	return p.record(progress.changed())
}

// resolve finds the manifest for the platform and reads the configuration.
// current: the image is here already.
func (p *pull) resolve(ctx context.Context) (current bool, err error) {
	ctx, end := trace.Start(ctx, "resolve", "reference", p.ref.String())
	defer func() { end(err) }()
	tag := tagOf(p.ref)
	p.s.mu.RLock()
	known, ok := p.s.index.names[key(p.ref)]
	rec := p.s.index.images[known.Image]
	p.s.mu.RUnlock()
	if ok {
		d, err := p.driver.Resolve(ctx, p.repo, tag)
		if err != nil {
			return false, pullError(err, p.ref, p.repo.Credentials)
		}
		if p.isCurrent(ctx, d, known, rec) {
			p.target, p.rec = known.Target, rec
			return true, nil
		}
		tag = d.Digest.String()
	}
	m, err := p.driver.GetManifest(ctx, p.repo, tag)
	if err != nil {
		return false, pullError(err, p.ref, p.repo.Credentials)
	}
	p.target = m.Descriptor
	found, err := p.descend(ctx, m, 0)
	if err == nil && !found {
		err = p.noMatch()
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", reference.FamiliarString(p.ref), err)
	}
	return false, nil
}

func (p *pull) noMatch() error {
	return fmt.Errorf("no matching manifest for %s in the manifest list entries: no match for platform in manifest: %w", p.asked, errdefs.ErrNotFound)
}

// isCurrent says whether the registry has what we have, and we still have it.
func (p *pull) isCurrent(ctx context.Context, d ocispec.Descriptor, known name, rec record) bool {
	if d.Digest != known.Target.Digest || !p.want.Match(rec.Platform) {
		return false
	}
	for _, b := range rec.blobs() {
		if !p.s.content.Has(b) {
			return false
		}
	}
	if c := rec.chain(); c != "" {
		if _, err := p.s.c.Drivers.Storage().Stat(ctx, c); err != nil {
			return false
		}
	}
	return true
}

// descend goes from an index to the manifest for the platform, trying entries
// that do not name theirs by their configuration.
func (p *pull) descend(ctx context.Context, m registry.Manifest, depth int) (bool, error) {
	if !isIndex(m.Descriptor.MediaType) {
		return p.take(ctx, m, depth)
	}
	if depth >= maxDepth {
		return false, fmt.Errorf("indexes are nested more than %d deep: %w", maxDepth, errdefs.ErrOutOfRange)
	}
	x, err := parseIndex(m.Bytes)
	if err != nil {
		return false, err
	}
	if err := p.keep(ctx, m); err != nil {
		return false, err
	}
	for _, d := range choose(x, p.want) {
		if p.tried[d.Digest] {
			continue
		}
		if p.tried[d.Digest] = true; len(p.tried) > maxManifests {
			return false, fmt.Errorf("more than %d manifests to choose from: name the one you want by its digest: %w", maxManifests, errdefs.ErrOutOfRange)
		}
		child, err := p.child(ctx, d)
		if err != nil {
			return false, err
		}
		found, err := p.descend(ctx, child, depth+1)
		if found || err != nil {
			if found {
				p.rec.Indexes = append(p.rec.Indexes, m.Descriptor)
			}
			return found, err
		}
	}
	return false, nil
}

func (p *pull) child(ctx context.Context, d ocispec.Descriptor) (registry.Manifest, error) {
	m, err := p.driver.GetManifest(ctx, p.repo, d.Digest.String())
	if err != nil {
		return m, pullError(err, p.ref, p.repo.Credentials)
	}
	if m.Descriptor.Digest != d.Digest || m.Descriptor.Size != d.Size {
		return m, fmt.Errorf("manifest %s: got %d bytes with digest %s: %w", d.Digest, m.Descriptor.Size, m.Descriptor.Digest, errdefs.ErrDataLoss)
	}
	m.Descriptor.MediaType = d.MediaType
	return m, nil
}

// keep stores a manifest's bytes, whose digest the store computes itself.
func (p *pull) keep(ctx context.Context, m registry.Manifest) error {
	if err := p.lease.Add(gc.Roots{Blobs: []digest.Digest{m.Descriptor.Digest}}); err != nil {
		return err
	}
	d, err := p.s.content.Put(ctx, m.Descriptor.MediaType, m.Bytes)
	if err == nil && d.Digest != m.Descriptor.Digest {
		err = fmt.Errorf("manifest %s: the bytes have digest %s: %w", m.Descriptor.Digest, d.Digest, errdefs.ErrDataLoss)
	}
	return err
}

// take makes the record of an image manifest. One that was found without a
// word on its platform must be for the right one.
func (p *pull) take(ctx context.Context, m registry.Manifest, depth int) (bool, error) {
	man, err := parseManifest(m.Descriptor.MediaType, m.Bytes)
	if err != nil {
		return false, err
	}
	if err := p.keep(ctx, m); err != nil {
		return false, err
	}
	data, err := p.fetchConfig(ctx, man.Config)
	if err != nil {
		return false, err
	}
	c, err := parseConfig(data, len(man.Layers))
	if err != nil {
		return false, err
	}
	if c.OS != "" && c.OS != "linux" {
		return false, fmt.Errorf("image is for %s/%s and cannot run on linux: %w", c.OS, c.Architecture, errdefs.ErrFailedPrecondition)
	}
	if (depth > 0 || p.forced) && c.Architecture != "" && !p.want.Match(c.Platform) {
		if depth > 0 {
			return false, nil
		}
		return false, p.mismatch(c.Platform)
	}
	p.rec = newRecord(m.Descriptor, man, c)
	return true, nil
}

func (p *pull) mismatch(have ocispec.Platform) error {
	return fmt.Errorf("image with reference %s was found but its platform (%s) does not match the specified platform (%s): %w",
		reference.FamiliarString(p.ref), platforms.Format(platforms.Normalize(have)), p.asked, errdefs.ErrNotFound)
}

func newRecord(desc ocispec.Descriptor, man ocispec.Manifest, c config) record {
	r := record{
		ID: man.Config.Digest, Manifest: desc, Config: man.Config, Platform: c.Platform,
		Stored: time.Now().UTC(), Labels: c.labels(),
	}
	if c.Created != nil {
		r.Created = *c.Created
	}
	for i, l := range man.Layers {
		r.Layers = append(r.Layers, layer{Blob: l, DiffID: c.RootFS.DiffIDs[i]})
	}
	return r
}

func (p *pull) fetchConfig(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > maxConfig {
		return nil, fmt.Errorf("image configuration has %d bytes, at most %d are allowed: %w", d.Size, maxConfig, errdefs.ErrOutOfRange)
	}
	if err := p.lease.Add(gc.Roots{Blobs: []digest.Digest{d.Digest}}); err != nil {
		return nil, err
	}
	in, err := p.s.content.Ingest(ctx, d)
	if errdefs.IsAlreadyExists(err) {
		return p.s.content.ReadAll(d.Digest, maxConfig)
	}
	if err != nil {
		return nil, err
	}
	if err := in.Reset(); err != nil {
		return nil, errors.Join(err, in.Abort())
	}
	body, err := p.driver.FetchBlob(ctx, p.repo, d, 0)
	if err != nil {
		return nil, errors.Join(err, in.Abort())
	}
	if _, err = io.Copy(in, body); err != nil {
		return nil, errors.Join(err, body.Close(), in.Abort())
	}
	if err := errors.Join(body.Close(), in.Commit()); err != nil {
		return nil, err
	}
	return p.s.content.ReadAll(d.Digest, maxConfig)
}

// sync makes blobs and snapshots durable.
func (s *Service) sync(ctx context.Context) (err error) {
	ctx, end := trace.Start(ctx, "sync")
	defer func() { end(err) }()
	var g errgroup.Group
	g.Go(func() error { return s.content.Flush(ctx) })
	g.Go(func() error { return s.c.Drivers.Storage().Sync(ctx) })
	return g.Wait()
}

// record lists the image, under its tag and its digest.
func (p *pull) record(changed bool) (fresh bool, err error) {
	s := p.s
	s.write.Lock()
	defer s.write.Unlock()
	n := name{Image: p.rec.ID, Target: p.target, Tagged: time.Now().UTC()}
	names := map[string]name{key(p.ref): n}
	byDigest, err := reference.WithDigest(reference.TrimNamed(p.ref), p.target.Digest)
	if err != nil {
		return false, err
	}
	names[byDigest.String()] = n
	s.mu.RLock()
	old, had := s.index.names[key(p.ref)]
	s.mu.RUnlock()
	if err := s.apply(change{put: &p.rec, name: names}); err != nil {
		return false, err
	}
	s.markReady(p.rec.chain())
	return changed || !had || old.Target.Digest != p.target.Digest, nil
}

// tagOf is the tag or digest of a reference.
func tagOf(ref reference.Named) string {
	switch r := ref.(type) {
	case reference.Digested:
		return r.Digest().String()
	case reference.Tagged:
		return r.Tag()
	}
	return ""
}

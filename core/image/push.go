package image

import (
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
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/trace"
)

// parallelUploads bounds the blobs of one push that are under way, as Docker's
// default does.
const parallelUploads = 5

// Push implements images.Backend. The manifest goes as it came, so its digest
// is that of the image pulled.
func (s *Service) Push(ctx context.Context, o images.PushOptions, send images.Progress) error {
	ref, err := parse(o.Image, o.Tag)
	if err != nil {
		return err
	}
	refs := []reference.Named{reference.TagNameOnly(ref)}
	if o.All {
		if refs, err = s.tagsOf(ref); err != nil {
			return err
		}
	}
	for i, ref := range refs {
		if _, ok := ref.(reference.Canonical); ok {
			return fmt.Errorf("cannot push a digest reference: %w", errdefs.ErrInvalidArgument)
		}
		s.mu.RLock()
		n, ok := s.index.names[key(ref)]
		r := s.index.images[n.Image]
		s.mu.RUnlock()
		if !ok {
			return fmt.Errorf("An image does not exist locally with the tag: %s: %w", reference.FamiliarName(ref), errdefs.ErrNotFound) //nolint:staticcheck // Docker's words
		}
		if i == 0 {
			send(status("", "The push refers to repository ["+ref.Name()+"]"))
		}
		if err := s.push(ctx, ref, r, o, send); err != nil {
			return err
		}
	}
	return nil
}

// tagsOf lists the local tags of a repository.
func (s *Service) tagsOf(repo reference.Named) ([]reference.Named, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []reference.Named
	for k := range s.index.names {
		ref, err := reference.ParseNormalizedNamed(k)
		if err != nil {
			return nil, err
		}
		if _, ok := ref.(reference.Tagged); ok && ref.Name() == repo.Name() {
			out = append(out, ref)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("An image does not exist locally with the tag: %s: %w", reference.FamiliarName(repo), errdefs.ErrNotFound) //nolint:staticcheck // Docker's words
	}
	slices.SortFunc(out, func(a, b reference.Named) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

func (s *Service) push(ctx context.Context, ref reference.Named, r record, o images.PushOptions, send images.Progress) error {
	repo := registry.Repository{Host: reference.Domain(ref), Name: reference.Path(ref), Credentials: credentials(o.Auth)}
	driver, err := s.c.Drivers.Registry(repo.Host)
	if err != nil {
		return err
	}
	lease, err := s.leases.Take("push " + r.ID.String())
	if err != nil {
		return err
	}
	defer lease.Leave()
	if r, err = s.compressed(ctx, r, lease); err != nil {
		return err
	}
	u := &upload{s: s, driver: driver, repo: repo, send: send, record: r}
	if err := u.blobs(ctx); err != nil {
		return pushError(err, ref)
	}
	data, err := s.content.ReadAll(r.Manifest.Digest, registry.MaxManifestSize)
	if err != nil {
		return err
	}
	tag := tagOf(ref)
	if err := driver.PutManifest(ctx, repo, tag, registry.Manifest{Descriptor: r.Manifest, Bytes: data}); err != nil {
		return pushError(err, ref)
	}
	if err := s.pushed(ctx, ref, r); err != nil {
		return err
	}
	if err := lease.Release(); err != nil {
		return err
	}
	send(status("", fmt.Sprintf("%s: digest: %s size: %d", tag, r.Manifest.Digest, len(data))))
	return u.aux(tag, len(data))
}

// pushed notes what the registry has now under the tag's repository. A push may
// have made blobs, but no snapshots: the storage driver is not asked for anything.
func (s *Service) pushed(ctx context.Context, ref reference.Named, r record) error {
	if err := s.content.Flush(ctx); err != nil {
		return err
	}
	byDigest, err := reference.WithDigest(reference.TrimNamed(ref), r.Manifest.Digest)
	if err != nil {
		return err
	}
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.RLock()
	_, there := s.index.images[r.ID]
	s.mu.RUnlock()
	if !there {
		return nil // removed meanwhile
	}
	n := name{Image: r.ID, Target: r.Manifest, Tagged: time.Now().UTC()}
	if err := s.apply(change{put: &r, name: map[string]name{byDigest.String(): n}}); err != nil {
		return err
	}
	s.publish(events.ActionPush, reference.FamiliarString(ref), reference.FamiliarName(ref), r)
	return nil
}

func pushError(err error, ref reference.Named) error {
	if errdefs.IsUnauthorized(err) || errdefs.IsPermissionDenied(err) {
		return &classed{fmt.Sprintf("push access denied for %s, repository does not exist or may require 'docker login': %s",
			reference.FamiliarName(ref), err), errdefs.ErrPermissionDenied, err}
	}
	return err
}

// upload is one push on its way.
type upload struct {
	s      *Service
	driver registry.Driver
	repo   registry.Repository
	send   images.Progress
	record record
}

func (u *upload) blobs(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelUploads)
	seen := map[digest.Digest]bool{}
	for _, l := range slices.Backward(u.record.Layers) {
		u.tell(l.Blob, "Preparing", nil)
	}
	for _, l := range u.record.Layers {
		if seen[l.Blob.Digest] {
			continue
		}
		seen[l.Blob.Digest] = true
		g.Go(func() error { return u.blob(ctx, l.Blob, true) })
	}
	g.Go(func() error { return u.blob(ctx, u.record.Config, false) })
	return g.Wait()
}

func (u *upload) tell(d ocispec.Descriptor, word string, p *jsonstream.Progress) {
	if p == nil {
		p = &jsonstream.Progress{}
	}
	u.send(jsonstream.Message{ID: short(d.Digest), Status: word, Progress: p})
}

// blob brings one blob over, the cheapest way first.
func (u *upload) blob(ctx context.Context, d ocispec.Descriptor, tell bool) (err error) {
	ctx, end := trace.Start(ctx, "push blob "+d.Digest.String())
	defer func() { end(err) }()
	say := func(word string, p *jsonstream.Progress) {
		if tell {
			u.tell(d, word, p)
		}
	}
	_, err = u.driver.StatBlob(ctx, u.repo, d.Digest)
	if err == nil {
		say("Layer already exists", nil)
		return nil
	}
	if !errdefs.IsNotFound(err) {
		return err
	}
	if from, ok := u.mount(ctx, d); ok {
		say("Mounted from "+from, nil)
		return nil
	}
	for attempt := 0; ; attempt++ {
		err := u.send1(ctx, d, say)
		if err == nil {
			say("Pushed", nil)
			return nil
		}
		if attempt >= 2 || ctx.Err() != nil || !errdefs.IsUnavailable(err) {
			return err
		}
		u.s.log.Warn("upload is tried once more", "blob", d.Digest, "err", err)
	}
}

func (u *upload) send1(ctx context.Context, d ocispec.Descriptor, say func(string, *jsonstream.Progress)) error {
	b, err := u.s.content.Open(d.Digest)
	if err != nil {
		return err
	}
	var last time.Time
	r := &told{r: b, tell: func(n int64) {
		if n == d.Size || time.Since(last) >= interval {
			last = time.Now()
			say("Pushing", &jsonstream.Progress{Current: n, Total: d.Size})
		}
	}}
	return errors.Join(u.driver.PushBlob(ctx, u.repo, d, r), b.Close())
}

// told tells how much was read.
type told struct {
	r    io.Reader
	n    int64
	tell func(int64)
}

func (t *told) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	t.tell(t.n)
	return n, err
}

// mount asks the registry to take the blob over from a repository from which,
// or to which, we know it to have gone. A refusal only costs the time.
func (u *upload) mount(ctx context.Context, d ocispec.Descriptor) (from string, ok bool) {
	for _, from := range u.s.sources(u.repo, d.Digest) {
		done, err := u.driver.MountBlob(ctx, u.repo, d.Digest, from)
		if err != nil {
			u.s.log.Debug("no cross-repository mount", "blob", d.Digest, "from", from, "err", err)
		}
		if done {
			return from, true
		}
	}
	return "", false
}

// maxSources bounds the repositories that are asked for a mount.
const maxSources = 3

func (s *Service) sources(to registry.Repository, d digest.Digest) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []string
	for k, n := range s.index.names {
		ref, err := reference.ParseNormalizedNamed(k)
		if err != nil || reference.Domain(ref) != to.Host || reference.Path(ref) == to.Name {
			continue
		}
		if _, ok := ref.(reference.Canonical); !ok || len(out) >= maxSources {
			continue // only what has been there has a digest
		}
		if slices.Contains(s.index.images[n.Image].blobs(), d) && !slices.Contains(out, reference.Path(ref)) {
			out = append(out, reference.Path(ref))
		}
	}
	return out
}

func (u *upload) aux(tag string, size int) error {
	raw, err := json.Marshal(struct {
		Tag, Digest string
		Size        int
	}{tag, u.record.Manifest.Digest.String(), size})
	if err != nil {
		return err
	}
	u.send(jsonstream.Message{Aux: (*json.RawMessage)(&raw)})
	return nil
}

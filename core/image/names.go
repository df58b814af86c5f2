package image

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tag implements images.Backend.
func (s *Service) Tag(_ context.Context, ref, repo, tag string) error {
	named, err := newName(repo, tag)
	if err != nil {
		return err
	}
	s.write.Lock()
	defer s.write.Unlock()
	r, err := s.find(ref)
	if err != nil {
		return err
	}
	n := name{Image: r.ID, Target: s.targetOf(ref, r), Tagged: time.Now().UTC()}
	if err := s.apply(change{name: map[string]name{key(named): n}}); err != nil {
		return fmt.Errorf("image %s: tag %s: %w", short(r.ID), reference.FamiliarString(named), err)
	}
	s.publish(events.ActionTag, r.ID.String(), reference.FamiliarString(named), r)
	return nil
}

// targetOf is what the registry has under ref, else the image's manifest.
func (s *Service) targetOf(ref string, r record) ocispec.Descriptor {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		if n, ok := s.index.names[key(named)]; ok && n.Image == r.ID {
			return n.Target
		}
	}
	return r.Manifest
}

// newName checks a name that is to be given to an image.
func newName(repo, tag string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return nil, fmt.Errorf("%q: %w: %w", repo, err, errdefs.ErrInvalidArgument)
	}
	if _, ok := named.(reference.Digested); ok {
		return nil, fmt.Errorf("refusing to create a tag with a digest reference: %w", errdefs.ErrInvalidArgument)
	}
	if tag != "" {
		if named, err = reference.WithTag(reference.TrimNamed(named), tag); err != nil {
			return nil, fmt.Errorf("invalid tag %q: %w: %w", tag, err, errdefs.ErrInvalidArgument)
		}
	}
	named = reference.TagNameOnly(named)
	if reference.FamiliarName(named) == "sha256" {
		return nil, fmt.Errorf("refusing to create an ambiguous tag using digest algorithm as name: %w", errdefs.ErrInvalidArgument)
	}
	return named, nil
}

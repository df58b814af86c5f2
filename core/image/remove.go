package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/filter"
)

// Remove implements images.Backend with Docker's rules: a reference is taken
// from its image; the image goes when that was its last one and no container
// uses it. Force removes the references, and images that stopped containers
// use.
func (s *Service) Remove(ctx context.Context, ref string, o images.RemoveOptions) ([]image.DeleteResponse, error) {
	s.write.Lock()
	defer s.write.Unlock()
	r, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	users, err := s.users(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	x := removal{s: s, r: r, users: users, force: o.Force}
	if err := x.plan(ref); err != nil {
		return nil, err
	}
	return x.carryOut()
}

func (s *Service) users(ctx context.Context, id digest.Digest) ([]User, error) {
	if s.c.Users == nil {
		return nil, nil
	}
	users, err := s.c.Users.ImageUsers(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("image %s: who uses it: %w", short(id), err)
	}
	return users, nil
}

// removal is what one Remove does.
type removal struct {
	s     *Service
	r     record
	users []User
	force bool

	unname []string // references to take, as stored
	drop   bool     // and the image
}

// plan decides what goes, or returns the conflict.
func (x *removal) plan(ref string) error {
	names := x.s.names(x.r.ID)
	if isIDPrefix(x.r.ID, ref) {
		if !single(names) && len(names) > 0 && !x.force {
			return x.conflict(false, "image is referenced in multiple repositories")
		}
		x.unname, x.drop = names, true
		return x.inUse()
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return fmt.Errorf("%q: %w: %w", ref, err, errdefs.ErrInvalidArgument)
	}
	if len(x.users) > 0 && !x.force && single(names) {
		return fmt.Errorf("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s: %w",
			ref, shortID(x.users[0].ContainerID), short(x.r.ID), errdefs.ErrConflict)
	}
	x.unname = []string{key(named)}
	rest := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == key(named) })
	if _, canonical := named.(reference.Canonical); !canonical {
		rest = x.digestsToo(named.Name(), rest)
	}
	if len(rest) == 0 {
		// Docker keeps, untagged, what a container uses when force was given.
		x.drop = x.inUse() == nil
	}
	return nil
}

// digestsToo takes the digests of a repository whose last tag goes.
func (x *removal) digestsToo(repo string, rest []string) []string {
	if slices.ContainsFunc(rest, func(n string) bool { return strings.HasPrefix(n, repo+":") }) {
		return rest
	}
	return slices.DeleteFunc(rest, func(n string) bool {
		mine := strings.HasPrefix(n, repo+"@")
		if mine {
			x.unname = append(x.unname, n)
		}
		return mine
	})
}

// inUse returns the conflict with containers: a running one cannot be
// overridden.
func (x *removal) inUse() error {
	for _, u := range x.users {
		if u.Running {
			return x.conflict(true, "image is being used by running container "+shortID(u.ContainerID))
		}
	}
	if len(x.users) > 0 && !x.force {
		return x.conflict(false, "image is being used by stopped container "+shortID(x.users[0].ContainerID))
	}
	return nil
}

func (x *removal) conflict(hard bool, why string) error {
	how := "must be forced"
	if hard {
		how = "cannot be forced"
	}
	return fmt.Errorf("conflict: unable to delete %s (%s) - %s: %w", short(x.r.ID), how, why, errdefs.ErrConflict)
}

func (x *removal) carryOut() ([]image.DeleteResponse, error) {
	c := change{unname: x.unname}
	var gone []string
	if x.drop {
		c.drop = x.r.ID
		gone = x.s.onlyIn(x.r)
	}
	if err := x.s.apply(c); err != nil {
		return nil, fmt.Errorf("image %s: remove: %w", short(x.r.ID), err)
	}
	out := []image.DeleteResponse{}
	tags, digests := split(x.unname)
	for _, n := range append(tags, digests...) {
		out = append(out, image.DeleteResponse{Untagged: n})
		x.s.publish(events.ActionUnTag, x.r.ID.String(), x.r.ID.String(), x.r)
	}
	if !x.drop {
		return out, nil
	}
	x.s.publish(events.ActionDelete, x.r.ID.String(), x.r.ID.String(), x.r)
	out = append(out, image.DeleteResponse{Deleted: x.r.ID.String()})
	for _, g := range gone {
		out = append(out, image.DeleteResponse{Deleted: g})
	}
	x.s.collector.Trigger()
	return out, nil
}

// onlyIn lists the image's snapshots that no other image has, top first.
func (s *Service) onlyIn(r record) []string {
	s.mu.RLock()
	users := s.index.layerUsers()
	s.mu.RUnlock()
	var out []string
	for _, c := range slices.Backward(r.chains()) {
		if users[c] == 1 {
			out = append(out, string(c))
		}
	}
	return out
}

func (s *Service) names(id digest.Digest) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.namesOf(id)
}

// Prune implements images.Backend: images without a tag or, with
// dangling=false, without a container.
func (s *Service) Prune(ctx context.Context, f filter.Args) (image.PruneReport, error) {
	var rep image.PruneReport
	dangling, err := boolOf(f, "dangling")
	if err != nil {
		return rep, err
	}
	until, err := untilOf(f)
	if err != nil {
		return rep, err
	}
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.RLock()
	all := make([]record, 0, len(s.index.images))
	for _, r := range s.index.images {
		all = append(all, r)
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b record) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	for _, r := range all {
		names := s.names(r.ID)
		tags, _ := split(names)
		wanted := (dangling == nil || *dangling) && len(tags) > 0 || !until.IsZero() && !r.Created.Before(until) ||
			!f.Labels(r.Labels) || excluded(f, r.Labels)
		if wanted {
			continue
		}
		users, err := s.users(ctx, r.ID)
		if err != nil {
			return rep, err
		}
		if len(users) > 0 {
			continue
		}
		freed := s.freedBy(r)
		x := removal{s: s, r: r, unname: names, drop: true}
		done, err := x.carryOut()
		if err != nil {
			return rep, err
		}
		rep.ImagesDeleted = append(rep.ImagesDeleted, done...)
		rep.SpaceReclaimed += freed
	}
	// What unfinished pulls hold is of no use to somebody who wants space.
	if err := s.leases.Expire(true); err != nil {
		return rep, err
	}
	s.collector.Trigger()
	return rep, nil
}

// freedBy is what removing an image frees: the layers that only it has.
func (s *Service) freedBy(r record) (n uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	users := s.index.layerUsers()
	for i, c := range r.chains() {
		if users[c] == 1 {
			n += uint64(r.Layers[i].Size) //nolint:gosec // sizes are not negative
		}
	}
	return n
}

// excluded reads label!=key[=value].
func excluded(f filter.Args, labels map[string]string) bool {
	return slices.ContainsFunc(f.Get("label!"), func(l string) bool {
		return filter.Args{"label": {l}}.Labels(labels)
	})
}

// single: all references are of one repository, with one tag at most.
func single(names []string) bool {
	tags, repos := 0, map[string]bool{}
	for _, n := range names {
		ref, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			continue // cannot be: it was parsed before it was stored
		}
		repos[ref.Name()] = true
		if _, ok := ref.(reference.Canonical); !ok {
			tags++
		}
	}
	return len(repos) == 1 && tags <= 1
}

func isIDPrefix(id digest.Digest, ref string) bool {
	return strings.HasPrefix(id.String(), ref) || strings.HasPrefix(id.Encoded(), ref)
}

func shortID(id string) string { return id[:min(12, len(id))] }

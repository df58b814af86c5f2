package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/unpack"
	"github.com/strakehq/strake/sdk/registry"
)

// archiveFiles are an archive's files, which are in the content store, by
// their names. Nothing is ever written under such a name.
type archiveFiles struct {
	files map[string]ocispec.Descriptor
	links map[string]string
}

// Bounds of an archive: of its entries, of its names in bytes, and of the images
// that it may list.
const (
	maxFiles  = 100_000
	maxName   = 4096
	maxImages = 1000
)

// find follows the links with which docker save of old shares layers.
func (a archiveFiles) find(name string) (ocispec.Descriptor, bool) {
	name = cleanName(name)
	for range 8 {
		if d, ok := a.files[name]; ok {
			return d, true
		}
		to, ok := a.links[name]
		if !ok {
			break
		}
		name = to
	}
	return ocispec.Descriptor{}, false
}

func cleanName(n string) string { return strings.TrimPrefix(path.Clean("/"+n), "/") }

// readArchive stores every file of a tar as a blob. It may be compressed.
func (s *Service) readArchive(ctx context.Context, r io.Reader, hold func(digest.Digest) error) (a archiveFiles, err error) {
	a = archiveFiles{files: map[string]ocispec.Descriptor{}, links: map[string]string{}}
	plain, err := unpack.Decompress(r)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	t := tar.NewReader(plain)
	room := s.limits().Image
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return a, fmt.Errorf("not a tar archive: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		if err := ctx.Err(); err != nil {
			return a, err
		}
		if len(a.files)+len(a.links) >= maxFiles {
			return a, fmt.Errorf("archive has more than %d entries: %w", maxFiles, errdefs.ErrOutOfRange)
		}
		if len(h.Name) > maxName || len(h.Linkname) > maxName {
			return a, fmt.Errorf("%.64q…: name of more than %d bytes: %w", h.Name, maxName, errdefs.ErrInvalidArgument)
		}
		name := cleanName(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			if h.Size > room {
				return a, fmt.Errorf("%s: files of more than %d bytes together (images.max_image_size): %w", h.Name, s.limits().Image, errdefs.ErrOutOfRange)
			}
			room -= h.Size
			if a.files[name], err = s.readFile(ctx, name, t, hold); err != nil {
				return a, fmt.Errorf("%s: %w", h.Name, err)
			}
		case tar.TypeSymlink:
			a.links[name] = cleanName(path.Join(path.Dir(name), h.Linkname))
		case tar.TypeLink:
			a.links[name] = cleanName(h.Linkname)
		}
	}
}

func (s *Service) limits() unpack.Limits { return s.c.Unpack.Limits.WithDefaults() }

func (s *Service) readFile(ctx context.Context, name string, r io.Reader, hold func(digest.Digest) error) (ocispec.Descriptor, error) {
	draft, err := s.content.Draft()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if _, err := io.Copy(draft, r); err != nil {
		return ocispec.Descriptor{}, errors.Join(fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument), draft.Abort())
	}
	d, err := draft.Commit(ctx, "", hold)
	if err != nil {
		return d, err
	}
	if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && hex != d.Digest.Encoded() {
		return d, fmt.Errorf("has digest %s: %w", d.Digest, errdefs.ErrDataLoss)
	}
	return d, nil
}

// fromLayout finds the images of an OCI layout; none when there is no
// index.json.
func (l *load) fromLayout() ([]candidate, error) {
	if _, ok := l.files.find(ocispec.ImageIndexFile); !ok {
		return nil, nil
	}
	data, err := l.read(ocispec.ImageIndexFile)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var out []candidate
	for _, d := range x.Manifests {
		found, err := l.walk(d, 0)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			out = merge(out, r, layoutName(d))
		}
	}
	return out, nil
}

// merge adds a name to the candidate of its image.
func merge(list []candidate, r record, n reference.Named) []candidate {
	for i := range list {
		if list[i].record.ID == r.ID {
			if n != nil {
				list[i].names = append(list[i].names, n)
			}
			return list
		}
	}
	c := candidate{record: r}
	if n != nil {
		c.names = []reference.Named{n}
	}
	return append(list, c)
}

func layoutName(d ocispec.Descriptor) reference.Named {
	for _, v := range []string{d.Annotations[imageNameKey], d.Annotations[ocispec.AnnotationRefName]} {
		if !strings.ContainsAny(v, ":/") {
			continue // a bare tag names no repository
		}
		if ref, err := reference.ParseNormalizedNamed(v); err == nil {
			return reference.TagNameOnly(ref)
		}
	}
	return nil
}

// walk goes down an index. Entries whose manifests are not in the archive are
// of platforms that were not saved.
func (l *load) walk(d ocispec.Descriptor, depth int) ([]record, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("indexes are nested more than %d deep: %w", maxDepth, errdefs.ErrOutOfRange)
	}
	if len(l.walked) > maxImages {
		return nil, fmt.Errorf("index of more than %d manifests: %w", maxImages, errdefs.ErrOutOfRange)
	}
	if d.Annotations[attestationType] != "" || !isIndex(d.MediaType) && !isManifest(d.MediaType) || !l.s.content.Has(d.Digest) {
		return nil, nil
	}
	if found, ok := l.walked[d.Digest]; ok {
		return found, nil
	}
	found, err := l.below(d, depth)
	l.walked[d.Digest] = found
	return found, err
}

// below reads a manifest, or what is below an index.
func (l *load) below(d ocispec.Descriptor, depth int) ([]record, error) {
	data, err := l.s.content.ReadAll(d.Digest, registry.MaxManifestSize)
	if err != nil {
		return nil, err
	}
	if isManifest(d.MediaType) {
		return l.manifest(d, data)
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", d.Digest, err)
	}
	var out []record
	seen := map[digest.Digest]bool{}
	for _, m := range x.Manifests {
		found, err := l.walk(m, depth+1)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if !seen[r.Manifest.Digest] {
				seen[r.Manifest.Digest] = true
				out = append(out, r)
			}
		}
	}
	return out, nil
}

func (l *load) manifest(d ocispec.Descriptor, data []byte) ([]record, error) {
	man, err := parseManifest(d.MediaType, data)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	raw, err := l.s.content.ReadAll(man.Config.Digest, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	c, err := parseConfig(raw, len(man.Layers))
	if err != nil || l.want != nil && !l.want.Match(c.Platform) {
		return nil, err
	}
	return []record{newRecord(ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, man, c)}, nil
}

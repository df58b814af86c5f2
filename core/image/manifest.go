package image

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker that OCI has its own names for.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
	dockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"

	// attestationType marks BuildKit's attestations, which are in indexes
	// beside the images.
	attestationType = "vnd.docker.reference.type"
)

const (
	// maxDepth bounds indexes in indexes, maxManifests the manifests that are
	// looked at to find the one for the platform: indexes may name each other
	// so that there are as many ways as there are grains of sand.
	maxDepth     = 4
	maxManifests = 128
	// maxLayers bounds a manifest's layers. Docker makes 127 at most.
	maxLayers = 1024
)

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerManifestList
}

func isManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

// checkKind refuses a document that could be read as an index and as a manifest:
// whoever answers would decide which (CVE-2021-41190).
func checkKind(data []byte) error {
	var both struct {
		Manifests, Config, Layers json.RawMessage
	}
	if err := json.Unmarshal(data, &both); err != nil {
		return fmt.Errorf("manifest is malformed: %w: %w", err, errdefs.ErrDataLoss)
	}
	if both.Manifests != nil && (both.Config != nil || both.Layers != nil) {
		return fmt.Errorf("document is an index and a manifest at once: %w", errdefs.ErrDataLoss)
	}
	return nil
}

// parseIndex reads an OCI index or a Docker manifest list.
func parseIndex(data []byte) (ocispec.Index, error) {
	var x ocispec.Index
	if err := checkKind(data); err != nil {
		return x, err
	}
	if err := json.Unmarshal(data, &x); err != nil {
		return x, fmt.Errorf("index is malformed: %w: %w", err, errdefs.ErrDataLoss)
	}
	if x.SchemaVersion != 2 {
		return x, fmt.Errorf("index has schema version %d where 2 is expected: %w", x.SchemaVersion, errdefs.ErrDataLoss)
	}
	for _, m := range x.Manifests {
		if err := checkDescriptor(m); err != nil {
			return x, fmt.Errorf("index: %w", err)
		}
	}
	return x, nil
}

// parseManifest reads an image manifest and checks what it refers to.
func parseManifest(mediaType string, data []byte) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if strings.HasPrefix(mediaType, "application/vnd.docker.distribution.manifest.v1+") {
		return m, fmt.Errorf("image has a schema 1 manifest, a format that was given up in 2017: push it anew with a current Docker: %w", errdefs.ErrNotImplemented)
	}
	if !isManifest(mediaType) {
		return m, fmt.Errorf("media type %q is no image: %w", mediaType, errdefs.ErrInvalidArgument)
	}
	if err := checkKind(data); err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("manifest is malformed: %w: %w", err, errdefs.ErrDataLoss)
	}
	if m.SchemaVersion != 2 || m.MediaType != "" && m.MediaType != mediaType {
		return m, fmt.Errorf("manifest has schema version %d and media type %q: %w", m.SchemaVersion, m.MediaType, errdefs.ErrDataLoss)
	}
	if m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != dockerConfig {
		return m, fmt.Errorf("manifest is of an artifact of type %q, which cannot be run: %w", artifactType(m), errdefs.ErrInvalidArgument)
	}
	if len(m.Layers) > maxLayers {
		return m, fmt.Errorf("manifest has %d layers, at most %d are supported: %w", len(m.Layers), maxLayers, errdefs.ErrOutOfRange)
	}
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if err := checkDescriptor(d); err != nil {
			return m, fmt.Errorf("manifest: %w", err)
		}
	}
	return m, nil
}

func artifactType(m ocispec.Manifest) string {
	if m.ArtifactType != "" {
		return m.ArtifactType
	}
	return m.Config.MediaType
}

func checkDescriptor(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w: %w", d.Digest, err, errdefs.ErrDataLoss)
	}
	if d.Size < 0 {
		return fmt.Errorf("%s: size %d: %w", d.Digest, d.Size, errdefs.ErrDataLoss)
	}
	return nil
}

// parseConfig reads an image configuration and checks that it fits the
// manifest.
func parseConfig(data []byte, layers int) (config, error) {
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("image configuration is malformed: %w: %w", err, errdefs.ErrDataLoss)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return c, fmt.Errorf("manifest has %d layers and the image configuration %d: %w", layers, len(c.RootFS.DiffIDs), errdefs.ErrDataLoss)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return c, fmt.Errorf("image configuration: diff id %q: %w: %w", d, err, errdefs.ErrDataLoss)
		}
	}
	return c, nil
}

// matcher says which platforms are wanted; asked is the user's word or empty.
func matcher(asked string) (platforms.MatchComparer, string, error) {
	if asked == "" {
		return platforms.Default(), platforms.Format(platforms.Normalize(platforms.DefaultSpec())), nil
	}
	p, err := platforms.Parse(asked)
	if err != nil {
		return nil, "", fmt.Errorf("platform %q: %w: %w", asked, err, errdefs.ErrInvalidArgument)
	}
	return platforms.Only(p), platforms.Format(platforms.Normalize(p)), nil
}

// choose orders an index's entries: those for the platform, best first, then
// those that say nothing of theirs.
func choose(x ocispec.Index, want platforms.MatchComparer) []ocispec.Descriptor {
	var fit, open []ocispec.Descriptor
	for _, m := range x.Manifests {
		switch {
		case m.Annotations[attestationType] != "" || !isIndex(m.MediaType) && !isManifest(m.MediaType):
		case m.Platform == nil || m.Platform.OS == "" && m.Platform.Architecture == "":
			open = append(open, m)
		case want.Match(*m.Platform):
			fit = append(fit, m)
		}
	}
	slices.SortStableFunc(fit, func(a, b ocispec.Descriptor) int {
		switch {
		case want.Less(*a.Platform, *b.Platform):
			return -1
		case want.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	return append(fit, open...)
}

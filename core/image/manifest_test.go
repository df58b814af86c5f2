package image

import (
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestADocumentIsNotIndexAndManifestAtOnce(t *testing.T) {
	both := []byte(`{"schemaVersion":2,"manifests":[],"layers":[],
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` +
		`e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2}}`)
	if _, err := parseManifest(ocispec.MediaTypeImageManifest, both); !errdefs.IsDataLoss(err) {
		t.Errorf("as manifest: %v", err)
	}
	if _, err := parseIndex(both); !errdefs.IsDataLoss(err) {
		t.Errorf("as index: %v", err)
	}
}

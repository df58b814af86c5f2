package image

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/unpack"
)

func forPlatform(t *testing.T, arch string, l v1.Layer) mutate.IndexAddendum {
	t.Helper()
	img := configured(t, imageOf(t, l), func(c *v1.ConfigFile) { c.Architecture = arch })
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
}

func TestThePlatformIsChosenFromNestedIndexes(t *testing.T) {
	h := newHarness(t)
	attestation := forPlatform(t, "unknown", layerOf(t, "a", "attestation"))
	attestation.Annotations = map[string]string{attestationType: "attestation-manifest"}
	inner := mutate.AppendManifests(empty.Index, attestation, forPlatform(t, "s390x", layerOf(t, "a", "s390x")), forPlatform(t, runtime.GOARCH, layerOf(t, "a", "ours")))
	outer := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner})
	d := h.upload("multi:1", outer)
	h.pulled("multi:1")
	if got := h.files(h.ref("multi:1")); !maps.Equal(got, map[string]string{"a": "ours"}) {
		t.Errorf("files are %v", got)
	}
	if got, err := h.Inspect(t.Context(), h.ref("multi@"+d.String())); err != nil || got.Architecture != runtime.GOARCH {
		t.Errorf("by the index's digest: %s, error %v", got.Architecture, err)
	}
	if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("multi:1"), Platform: "linux/s390x"}, h.send); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Inspect(t.Context(), h.ref("multi:1")); err != nil || got.Architecture != "s390x" {
		t.Errorf("asked for s390x, got %s, error %v", got.Architecture, err)
	}
	h.said()
	err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("multi:1"), Platform: "linux/riscv64"}, h.send)
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "no matching manifest for linux/riscv64") {
		t.Errorf("error is %v", err)
	}
	if said := h.said(); len(said) > 0 {
		t.Errorf("was said before the error: %q", said)
	}
}

// Every kind of image that cannot be run is refused with a reason, and leaves
// no image behind.
func TestImagesThatCannotBeAreRefused(t *testing.T) {
	h := newHarness(t)
	good := layerOf(t, "a", "one")
	wrongDiff := configured(t, imageOf(t, good), func(c *v1.ConfigFile) {
		c.RootFS.DiffIDs[0] = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	})
	fewer := configured(t, imageOf(t, good), func(c *v1.ConfigFile) { c.RootFS.DiffIDs = nil })
	windows := configured(t, imageOf(t, good), func(c *v1.ConfigFile) { c.OS = "windows" })
	notTar := imageOf(t, static.NewLayer([]byte(strings.Repeat("no tar", 200)), types.OCIUncompressedLayer))
	artifact := mutate.ConfigMediaType(imageOf(t, good), "application/vnd.example.thing")
	for ref, c := range map[string]struct {
		img   v1.Image
		class error
		words string
	}{
		"wrong-diff:1": {wrongDiff, errdefs.ErrDataLoss, "where the image configuration says"},
		"fewer:1":      {fewer, errdefs.ErrDataLoss, "manifest has 1 layers and the image configuration 0"},
		"windows:1":    {windows, errdefs.ErrFailedPrecondition, "image is for windows"},
		"not-tar:1":    {notTar, errdefs.ErrInvalidArgument, ""},
		"artifact:1":   {artifact, errdefs.ErrInvalidArgument, "application/vnd.example.thing"},
	} {
		h.upload(ref, c.img)
		err := h.Pull(t.Context(), images.PullOptions{Image: h.ref(ref)}, h.send)
		if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), ref) {
			t.Errorf("%s: error is %v", ref, err)
		}
		t.Logf("%s: %v", ref, err)
	}
	h.leavesNothing()
}

func (h *harness) leavesNothing() {
	h.t.Helper()
	if list, err := h.List(h.t.Context(), images.ListOptions{}); err != nil || len(list) > 0 {
		h.t.Errorf("images: %v, error %v", list, err)
	}
	if err := h.leases.Expire(true); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.collector.Collect(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	if left, err := h.Storage().List(h.t.Context()); err != nil || len(left) > 0 {
		h.t.Errorf("snapshots are left: %v, error %v", left, err)
	}
}

func TestRegistriesThatLieAreFoundOut(t *testing.T) {
	h := newHarness(t)
	l := layerOf(t, "a", strings.Repeat("one", 10_000))
	h.upload("app:1", imageOf(t, l))
	blob := blobOf(t, l)
	change := func(f func([]byte) []byte) {
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, blob) {
				return false
			}
			_, _ = w.Write(f(whole(h.inner, r)))
			return true
		})
	}
	for what, f := range map[string]func([]byte) []byte{
		"a changed byte": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"other bytes":    func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) },
		"too long":       func(b []byte) []byte { return append(b, 'x') },
		"too short":      func(b []byte) []byte { return b[:len(b)-1] },
	} {
		change(f)
		err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("app:1")}, h.send)
		if !errdefs.IsDataLoss(err) || !strings.Contains(err.Error(), blob) {
			t.Errorf("%s: error is %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
	h.leavesNothing()
	h.setFault(nil)
	h.pulled("app:1")
}

func TestSchema1IsRefused(t *testing.T) {
	h := newHarness(t)
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
		_, _ = io.WriteString(w, `{"schemaVersion":1,"name":"old","tag":"1","fsLayers":[]}`)
		return true
	})
	err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("old:1")}, h.send)
	if !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "schema 1") {
		t.Errorf("error is %v", err)
	}
}

func TestADecompressionBombIsStopped(t *testing.T) {
	h := newHarness(t)
	h.unpacker = unpack.New(h.content, h, unpack.Options{Limits: unpack.Limits{Layer: 1 << 20}}, h.log)
	h.upload("bomb:1", imageOf(t, layerOf(t, "zeros", strings.Repeat("\x00", 8<<20))))
	err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("bomb:1")}, h.send)
	if !errdefs.IsOutOfRange(err) || !strings.Contains(err.Error(), "larger than the limit") {
		t.Errorf("error is %v", err)
	}
	h.leavesNothing()
}

func TestForeignLayersAreRefused(t *testing.T) {
	h := newHarness(t)
	img, err := mutate.Append(imageOf(t), mutate.Addendum{
		Layer: layerOf(t, "a", "one"), MediaType: types.DockerForeignLayer, URLs: []string{"https://elsewhere.example/layer"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.upload("foreign:1", img)
	if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("foreign:1")}, h.send); !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "foreign") {
		t.Errorf("error is %v", err)
	}
}

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	ggcrname "github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	ggcrtar "github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"

	"github.com/strakehq/strake/core/api/images"
)

// dockerArchiveOf is what docker save writes, with compressed layers.
func dockerArchiveOf(t *testing.T, tag string, files ...string) []byte {
	t.Helper()
	ref, err := ggcrname.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := ggcrtar.Write(ref, imageOf(t, layerOf(t, files...)), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLoadReadsDockerArchives(t *testing.T) {
	h := newHarness(t)
	plain := dockerArchiveOf(t, "example.com/app:1", "a", "one")
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, archive := range map[string][]byte{"plain": plain, "gzip": gz.Bytes(), "zstd": zs.Bytes()} {
		if err := h.Load(t.Context(), bytes.NewReader(archive), nil, h.send); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		contains(t, h.said(), "Loaded image: example.com/app:1")
		if got := h.files("example.com/app:1"); !maps.Equal(got, map[string]string{"a": "one"}) {
			t.Errorf("%s: files are %v", name, got)
		}
		if _, err := h.Remove(t.Context(), "example.com/app:1", images.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// An image built elsewhere is loaded with plain layers; a registry gets them
// compressed, and a second pull gives the same image.
func TestLoadedPlainLayersArePushedCompressed(t *testing.T) {
	h := newHarness(t)
	var b bytes.Buffer
	archive := tar.NewReader(bytes.NewReader(dockerArchiveOf(t, h.ref("app:1"), "a", strings.Repeat("text ", 1000))))
	w := tar.NewWriter(&b)
	for {
		hd, err := archive.Next()
		if err != nil {
			break
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(hd.Name, ".tar.gz") {
			z, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
			hd.Size = int64(len(data))
		}
		if err := w.WriteHeader(hd); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(t.Context(), &b, nil, h.send); err != nil {
		t.Fatal(err)
	}
	before, err := h.Inspect(t.Context(), h.ref("app:1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Push(t.Context(), images.PushOptions{Image: h.ref("app"), Tag: "1"}, h.send); err != nil {
		t.Fatal(err)
	}
	contains(t, h.said(), "Pushed")
	rec, err := h.find(h.ref("app:1"))
	if err != nil {
		t.Fatal(err)
	}
	if l := rec.Layers[0]; l.Blob.Digest == l.DiffID || l.Blob.Size >= l.Size {
		t.Errorf("layer was pushed plain: %+v", l)
	}
	if _, err := h.Remove(t.Context(), h.ref("app:1"), images.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	h.pulled("app:1")
	if after, err := h.Inspect(t.Context(), h.ref("app:1")); err != nil || after.ID != before.ID {
		t.Errorf("pulled %s, loaded %s, error %v", after.ID, before.ID, err)
	}
}

func TestLoadReadsOCILayouts(t *testing.T) {
	h := newHarness(t)
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	img := imageOf(t, layerOf(t, "a", "one"))
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})
	if err := p.AppendIndex(index, layout.WithAnnotations(map[string]string{imageNameKey: "example.com/oci:2"})); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(t.Context(), &b, nil, h.send); err != nil {
		t.Fatal(err)
	}
	contains(t, h.said(), "Loaded image: example.com/oci:2")
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := h.find("example.com/oci:2"); err != nil || rec.Manifest.Digest.String() != d.String() {
		t.Errorf("manifest is %s, want %s (error %v)", rec.Manifest.Digest, d, err)
	}
}

func TestBadArchivesAreRefusedAndLeaveNothing(t *testing.T) {
	h := newHarness(t)
	entry := func(name, content string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, archive := range map[string][]byte{
		"no tar":          []byte("this is no tar archive"),
		"empty":           nil,
		"no manifest":     entry("README", "hello"),
		"malformed":       entry("manifest.json", "["),
		"missing config":  entry("manifest.json", `[{"Config":"nope.json","RepoTags":["a:1"]}]`),
		"escaping config": entry("manifest.json", `[{"Config":"../../../../etc/passwd","RepoTags":["a:1"]}]`),
		"bad tag":         entry("manifest.json", `[{"Config":"c","RepoTags":["A A"]}]`),
		"wrong digest":    entry("blobs/sha256/"+strings.Repeat("0", 64), "x"),
		"huge index":      entry("index.json", strings.Repeat(" ", 9<<20)),
	} {
		err := h.Load(t.Context(), bytes.NewReader(archive), nil, h.send)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		t.Logf("%s: %v", name, err)
	}
	if err := h.Load(t.Context(), bytes.NewReader(dockerArchiveOf(t, "a:1", "f", "x")), []string{"linux/s390x"}, h.send); !errdefs.IsNotFound(err) {
		t.Errorf("other platform: %v", err)
	}
	if list, err := h.List(t.Context(), images.ListOptions{}); err != nil || len(list) != 0 {
		t.Errorf("images: %v, error %v", list, err)
	}
	rep, err := h.collector.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("swept %d blobs, %d snapshots", len(rep.Blobs), len(rep.Snapshots))
	if rep, err = h.collector.Collect(t.Context()); err != nil || len(rep.Blobs)+len(rep.Snapshots) != 0 {
		t.Errorf("left behind: %+v, error %v", rep, err)
	}
}

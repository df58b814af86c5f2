package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/unpack"
)

// indexOf is an index of n entries that are all the same.
func indexOf(t *testing.T, d ocispec.Descriptor, n int) ([]byte, ocispec.Descriptor) {
	t.Helper()
	x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	x.SchemaVersion = 2
	for range n {
		x.Manifests = append(x.Manifests, d)
	}
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	return b, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// lattice is indexes that each name the next one n times: n⁴ ways lead down.
func lattice(t *testing.T, n int) (map[digest.Digest][]byte, ocispec.Descriptor) {
	t.Helper()
	all := map[digest.Digest][]byte{}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("nowhere"), Size: 7}
	for level := range maxDepth {
		if level == maxDepth-1 {
			n = 1
		}
		b, next := indexOf(t, d, n)
		all[next.Digest], d = b, next
	}
	return all, d
}

func serveManifests(all map[digest.Digest][]byte, tag func() digest.Digest) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, ref, ok := strings.Cut(r.URL.Path, "/manifests/")
		if !ok {
			return false
		}
		d := digest.Digest(ref)
		if !strings.Contains(ref, ":") {
			d = tag()
		}
		b, ok := all[d]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b)
		return true
	}
}

func TestIndexesThatBranchWithoutEndAreGivenUp(t *testing.T) {
	h := newHarness(t)
	all, top := lattice(t, 10_000)
	asked := 0
	serve := serveManifests(all, func() digest.Digest { return top.Digest })
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		asked++
		return serve(w, r)
	})
	if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("deep:1")}, h.send); !errdefs.IsNotFound(err) {
		t.Errorf("error is %v", err)
	}
	if asked > 20 {
		t.Errorf("%d requests", asked)
	}
	// and one index of many others
	x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	x.SchemaVersion = 2
	for i := range 1000 {
		b, d := indexOf(t, ocispec.Descriptor{Digest: digest.FromString(fmt.Sprint(i)), MediaType: "application/x"}, 1)
		all[d.Digest] = b
		x.Manifests = append(x.Manifests, d)
	}
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	top.Digest = digest.FromBytes(b)
	all[top.Digest], asked = b, 0
	if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("wide:1")}, h.send); !errdefs.IsOutOfRange(err) || asked > 2*maxManifests {
		t.Errorf("%d requests, error is %v", asked, err)
	}
	h.leavesNothing()
}

func tarOf(t *testing.T, entries ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i+1 < len(entries); i += 2 {
		content := entries[i+1].([]byte)
		if err := w.WriteHeader(&tar.Header{Name: entries[i].(string), Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnArchiveWhoseIndexesBranchWithoutEndIsRefused(t *testing.T) {
	h := newHarness(t)
	all, top := lattice(t, 10_000)
	index, _ := indexOf(t, top, 10_000)
	entries := []any{"index.json", index}
	for d, b := range all {
		entries = append(entries, "blobs/sha256/"+d.Encoded(), b)
	}
	if err := h.Load(t.Context(), bytes.NewReader(tarOf(t, entries...)), nil, h.send); !errdefs.IsNotFound(err) && !errdefs.IsOutOfRange(err) {
		t.Errorf("error is %v", err)
	}
	h.leavesNothing()
}

// A small archive must not cost memory or disk that it does not have itself.
func TestArchivesThatAreLargerThanTheyLookAreRefused(t *testing.T) {
	h := newHarness(t)
	h.c.Unpack.Limits = unpack.Limits{Image: 8 << 20}
	var names bytes.Buffer
	w := tar.NewWriter(&names)
	for i := range 100 {
		if err := w.WriteHeader(&tar.Header{Name: strings.Repeat("n", 64<<10) + fmt.Sprint(i), Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		archive io.Reader
		class   func(error) bool
	}{
		"zeros":            {gzipped(t, tarOf(t, "a", make([]byte, 16<<20))), errdefs.IsOutOfRange},
		"names of 64 KiB":  {gzipped(t, names.Bytes()), errdefs.IsInvalidArgument},
		"a sparse giant":   {bytes.NewReader(sparseGiant(t, "layer.tar", 1<<60)), errdefs.IsOutOfRange},
		"cut off":          {bytes.NewReader(tarOf(t, "a", make([]byte, 4096))[:2048]), errdefs.IsInvalidArgument},
		"gzip and no more": {strings.NewReader("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), errdefs.IsInvalidArgument},
	} {
		if err := h.Load(t.Context(), c.archive, nil, h.send); !c.class(err) || len(err.Error()) > 1000 {
			t.Errorf("%s: error is %v", name, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	h.leavesNothing()
}

func gzipped(t *testing.T, b []byte) io.Reader {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

// sparseGiant is a file of one byte and a hole, in GNU's format 0.1, which
// package tar reads and does not write.
func sparseGiant(t *testing.T, name string, size int64) []byte {
	t.Helper()
	var records bytes.Buffer
	for _, kv := range []string{
		"GNU.sparse.size=" + fmt.Sprint(size), "GNU.sparse.numblocks=1", "GNU.sparse.map=0,1", "GNU.sparse.name=" + name,
	} {
		n := len(kv) + 3
		for len(strconv.Itoa(n))+len(kv)+2 != n {
			n++
		}
		fmt.Fprintf(&records, "%d %s\n", n, kv)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range []struct {
		kind    byte
		name    string
		content []byte
	}{{tar.TypeXHeader, "x", records.Bytes()}, {tar.TypeReg, "s", []byte("x")}} {
		b.Write(rawHeader(e.kind, e.name, int64(len(e.content))))
		b.Write(e.content)
		b.Write(make([]byte, (512-len(e.content)%512)%512))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rawHeader is a ustar header.
func rawHeader(kind byte, name string, size int64) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00        ", size, 0))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// What a lying registry left of a blob does not cost an honest one its pull,
// also where the layer itself is unpacked already.
func TestABlobThatAnEarlierPullLeftSpoiltIsFetchedAnew(t *testing.T) {
	for _, inOrder := range []bool{false, true} {
		h := newHarness(t)
		h.inOrder = inOrder
		img, err := random.Image(1<<20, 1)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		h.upload("app:1", imageOf(t, layers...))
		blob := digest.Digest(blobOf(t, layers[0]))
		name := filepath.Join(h.dir, "content", "ingest", blob.Algorithm().String()+"-"+blob.Encoded())
		if err := os.WriteFile(name, bytes.Repeat([]byte("spoilt"), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		h.pulled("app:1")
	}
}

// What the manifest says of a layer's size is believed before anything is
// fetched, when it is too much.
func TestAnImageThatSaysItIsTooLargeIsNotFetched(t *testing.T) {
	h := newHarness(t)
	layer := layerOf(t, "a", "one")
	h.upload("app:1", imageOf(t, layer, layer, layer))
	for _, l := range []unpack.Limits{{Layer: 10}, {Image: 200}} {
		h.unpacker = unpack.New(h.content, h, unpack.Options{Limits: l}, h.log)
		if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("app:1")}, h.send); !errdefs.IsOutOfRange(err) || !strings.Contains(err.Error(), "images.max_") {
			t.Errorf("%+v: error is %v", l, err)
		}
		for _, r := range h.asked() {
			if strings.Contains(r, blobOf(t, layer)) {
				t.Errorf("%+v: the layer was fetched", l)
			}
		}
	}
	h.leavesNothing()
}

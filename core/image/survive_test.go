package image

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/storage"
)

func blobOf(t *testing.T, l v1.Layer) string {
	t.Helper()
	d, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestSharedLayersOfConcurrentPullsAreFetchedOnce(t *testing.T) {
	h := newHarness(t)
	shared := layerOf(t, "shared", strings.Repeat("x", 100_000))
	h.upload("one:1", imageOf(t, shared, layerOf(t, "own", "one")))
	h.upload("two:1", imageOf(t, shared, layerOf(t, "own", "two")))
	h.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, blobOf(t, shared)) {
			time.Sleep(20 * time.Millisecond) // gives the other pull the time to come
		}
		return false
	})
	var wg sync.WaitGroup
	for _, ref := range []string{"one:1", "two:1", "one:1", "two:1"} {
		wg.Go(func() {
			if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref(ref)}, h.send); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for _, r := range h.asked() {
		if strings.Contains(r, blobOf(t, shared)) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the shared layer was fetched %d times", n)
	}
	if one, two := h.files(h.ref("one:1")), h.files(h.ref("two:1")); one["own"] != "one" || two["own"] != "two" || one["shared"] != two["shared"] {
		t.Errorf("files are wrong")
	}
}

// A daemon that is killed in the middle of a pull finds what had arrived: the
// next pull of the same image goes on by range, also after a collection.
func TestAPullCutOffIsResumed(t *testing.T) {
	h := newHarness(t)
	img, err := random.Image(4<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	img = configured(t, img, func(c *v1.ConfigFile) { c.OS, c.Architecture = "linux", "" })
	h.upload("big:1", img)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	blob := blobOf(t, layers[0])
	ctx, cancel := context.WithCancel(t.Context())
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, blob) {
			return false
		}
		h.setFault(nil)
		body := whole(h.inner, r)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:2<<20])
		w.(http.Flusher).Flush()
		for h.partial(blob) < 1<<20 && r.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-r.Context().Done()
		return true
	})
	if err := h.Pull(ctx, images.PullOptions{Image: h.ref("big:1")}, h.send); err == nil {
		t.Fatal("no error")
	}
	h.reopen()
	if _, err := h.collector.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.asked()
	h.pulled("big:1")
	if !slices.ContainsFunc(h.asked(), func(r string) bool { return strings.Contains(r, blob+" bytes=") }) {
		t.Errorf("the layer was fetched from its beginning")
	}
	if len(h.files(h.ref("big:1"))) == 0 {
		t.Error("the image is empty")
	}
}

// A driver that dies in the middle of a pull, and does not come back in time,
// costs that pull; the next one succeeds, and nothing is left of the first.
func TestADriverKilledInAPullLeavesNothingWrong(t *testing.T) {
	for _, which := range []string{"storage", "registry"} {
		t.Run(which, func(t *testing.T) {
			h := newHarness(t)
			l := layerOf(t, "a", randomText(2<<20))
			h.upload("app:1", imageOf(t, l, layerOf(t, "b", "two")))
			h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, blobOf(t, l)) {
					return false
				}
				h.setFault(nil)
				body := whole(h.inner, r)
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				_, _ = w.Write(body[:len(body)/2])
				w.(http.Flusher).Flush()
				if which == "storage" {
					h.storage.Kill()
				} else {
					h.registry.Kill()
				}
				_, _ = w.Write(body[len(body)/2:])
				return true
			})
			if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("app:1")}, h.send); err == nil {
				t.Error("no error")
			}
			if _, err := h.find(h.ref("app:1")); !errdefs.IsNotFound(err) {
				t.Errorf("the image is listed, error %v", err)
			}
			h.storage.Kill()
			h.registry.Kill()
			h.relaunch()
			h.pulled("app:1")
			if got := h.files(h.ref("app:1")); len(got["a"]) != 2<<20 || got["b"] != "two" {
				t.Errorf("files are %d bytes and %q", len(got["a"]), got["b"])
			}
			if _, err := h.collector.Collect(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left, err := h.Storage().List(t.Context()); err != nil || len(left) != 2 {
				t.Errorf("snapshots are %v, error %v", left, err)
			}
		})
	}
}

// randomText does not compress much.
func randomText(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + r.IntN(64))
	}
	return string(b)
}

func TestRecordsSurviveARestartAndNothingElseDoes(t *testing.T) {
	h := newHarness(t)
	h.upload("app:1", imageOf(t, layerOf(t, "a", "one"), layerOf(t, "b", "two")))
	h.pulled("app:1")
	before, err := h.List(t.Context(), images.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// What a killed daemon leaves: a snapshot half unpacked, a blob staged.
	if _, err := h.Storage().Prepare(t.Context(), "extract-left", "", storage.PrepareOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.content.Put(t.Context(), "", []byte("left")); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	rep, err := h.collector.Collect(t.Context())
	if err != nil || len(rep.Blobs) != 1 || len(rep.Snapshots) != 1 {
		t.Errorf("collected %+v, error %v", rep, err)
	}
	after, err := h.List(t.Context(), images.ListOptions{})
	if err != nil || len(after) != 1 || after[0].ID != before[0].ID || !slices.Equal(after[0].RepoTags, before[0].RepoTags) {
		t.Errorf("images are %v, were %v, error %v", after, before, err)
	}
	if got := h.files(h.ref("app:1")); !maps.Equal(got, map[string]string{"a": "one", "b": "two"}) {
		t.Errorf("files are %v", got)
	}
}

func TestAnotherStorageDriverGetsTheImagesUnpackedAgain(t *testing.T) {
	h := newHarness(t)
	h.upload("app:1", imageOf(t, layerOf(t, "a", "one"), layerOf(t, "a", "two", "c", "three")))
	h.pulled("app:1")
	h.asked()
	h.storage = launch(t, "storage-overlay", conformance.TestConfig(t, "{}"))
	h.reopen()
	if got := h.files(h.ref("app:1")); !maps.Equal(got, map[string]string{"a": "two", "c": "three"}) {
		t.Errorf("files are %v", got)
	}
	if asked := h.asked(); len(asked) != 0 {
		t.Errorf("blobs were fetched again: %q", asked)
	}
}

func TestDriversWithoutApplyGetLayersInOrder(t *testing.T) {
	h := newHarness(t)
	h.inOrder = true
	h.upload("app:1", imageOf(t, layerOf(t, "a", "one", "gone", "x"), layerOf(t, "a", "two", ".wh.gone", ""), layerOf(t, "c", "three")))
	h.pulled("app:1")
	if got := h.files(h.ref("app:1")); !maps.Equal(got, map[string]string{"a": "two", "c": "three"}) {
		t.Errorf("files are %v", got)
	}
	h.upload("app:2", imageOf(t, layerOf(t, "a", "one", "gone", "x"), layerOf(t, "d", "four")))
	h.pulled("app:2")
	if got := h.files(h.ref("app:2")); !maps.Equal(got, map[string]string{"a": "one", "gone": "x", "d": "four"}) {
		t.Errorf("files are %v", got)
	}
}

// partial is how many bytes of a blob have arrived.
func (h *harness) partial(blob string) int64 {
	i, err := os.Stat(filepath.Join(h.dir, "content", "ingest", strings.Replace(blob, ":", "-", 1)))
	if err != nil {
		return 0
	}
	return i.Size()
}

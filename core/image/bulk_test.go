package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/unpack"
)

// long asks for the sizes that take minutes.
func long() bool { return os.Getenv("STRAKE_LONG") != "" }

// peak is the most memory that a process ever had, in bytes.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// Answers without end cost neither the daemon nor its drivers memory, and leave
// nothing on disk.
func TestHostileRegistriesThatNeverEndCostNoMemory(t *testing.T) {
	h := newHarness(t)
	layer := layerOf(t, "a", strings.Repeat("one", 100_000))
	h.upload("app:1", imageOf(t, layer))
	pour := func(w io.Writer) {
		for chunk := bytes.Repeat([]byte(" "), 64<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		path  string
		class func(error) bool
	}{
		"a blob":          {"/blobs/" + blobOf(t, layer), errdefs.IsDataLoss},
		"a configuration": {"/blobs/sha256:", errdefs.IsDataLoss},
		"a manifest":      {"/manifests/", errdefs.IsOutOfRange},
		"the first page":  {"/tags/list", errdefs.IsOutOfRange},
	} {
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, c.path) {
				return false
			}
			pour(w)
			return true
		})
		o := images.PullOptions{Image: h.ref("app"), Tag: "1"}
		if name == "the first page" {
			o.Tag, o.All = "", true
		}
		if err := h.Pull(t.Context(), o, h.send); !c.class(err) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	for what, pid := range map[string]int{"registry": h.registry.Pid(), "storage": h.storage.Pid()} {
		if n := peak(t, pid); n > 200<<20 {
			t.Errorf("the %s driver had %d MiB", what, n>>20)
		}
	}
	h.leavesNothing()
}

// A tag that means another image at each call gives an image that is whole: the
// one that the first answer named.
func TestHostileRegistriesThatMoveTheTagGiveOneImage(t *testing.T) {
	h := newHarness(t)
	names := []string{"one", "two"}
	var digests []digest.Digest
	for _, n := range names {
		digests = append(digests, h.upload("app:"+n, imageOf(t, layerOf(t, "a", n))))
	}
	var calls atomic.Int64
	h.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/latest") {
			r.URL.Path = strings.TrimSuffix(r.URL.Path, "latest") + digests[calls.Add(1)%2].String()
		}
		return false
	})
	for range 4 { // the first by GET, the others by HEAD
		h.pulled("app:latest")
		rec, err := h.find(h.ref("app:latest"))
		if err != nil {
			t.Fatal(err)
		}
		want := names[calls.Load()%2]
		if got := h.files(h.ref("app:latest"))["a"]; got != want || rec.Manifest.Digest != digests[calls.Load()%2] {
			t.Errorf("call %d: file says %s, manifest is %s", calls.Load(), got, rec.Manifest.Digest)
		}
	}
}

func TestAZstdBombIsStopped(t *testing.T) {
	h := newHarness(t)
	size := 64 << 20
	l := unpack.Limits{Layer: 1 << 20}
	if long() { // beyond what small layers may freely have
		size, l = 4<<30, unpack.Limits{}
	}
	h.unpacker = unpack.New(h.content, h, unpack.Options{Limits: l}, h.log)
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for zeros := make([]byte, 1<<20); size > 0; size -= len(zeros) {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h.upload("bomb:1", imageOf(t, static.NewLayer(b.Bytes(), types.OCILayerZStd)))
	err = h.Pull(t.Context(), images.PullOptions{Image: h.ref("bomb:1")}, h.send)
	if !errdefs.IsOutOfRange(err) || !strings.Contains(err.Error(), "images.max_layer_") {
		t.Errorf("error is %v", err)
	}
	h.leavesNothing()
}

// A layer of very many entries, which compress to next to nothing, is unpacked
// with little memory, refused where the driver's limit is lower, and removed.
func TestHostileNumbersOfEntries(t *testing.T) {
	n := 5_000
	if long() {
		n = 1_000_000
	}
	h := newHarness(t)
	raw, size := crowd(t, n)
	h.upload("crowd:1", imageOf(t, static.NewLayer(raw, types.OCILayer)))
	// go-containerregistry takes the blob's digest for its diff id
	err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("crowd:1")}, h.send)
	if !errdefs.IsDataLoss(err) {
		t.Errorf("error is %v", err)
	}
	if p := peak(t, h.storage.Pid()); p > 200<<20 {
		t.Errorf("the storage driver had %d MiB", p>>20)
	}
	t.Logf("%d entries, %d KiB as gzip, %d MiB as tar; the storage driver's peak %d MiB", n, len(raw)>>10, size>>20, peak(t, h.storage.Pid())>>20)
	h.leavesNothing()

	conf := h.storageConf
	conf.Options = []byte(fmt.Sprintf(`{"max_layer_entries": %d}`, n-1))
	h.storage.Kill()
	h.storageConf = conf
	h.relaunch()
	if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("crowd:1")}, h.send); !errdefs.IsOutOfRange(err) {
		t.Errorf("with a lower limit, error is %v", err)
	}
	h.leavesNothing()
}

// crowd is a gzip layer of n files in a thousand directories.
func crowd(t *testing.T, n int) ([]byte, int64) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	c := &counter{w: z}
	w := tar.NewWriter(c)
	for i := range n {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("d%d/f%d", i%1000, i), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), c.n
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

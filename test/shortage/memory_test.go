package shortage

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/strakehq/strake/test/testkit"
)

// pushLarge pushes an image of layers of so many MiB that hardly compress.
func pushLarge(t *testing.T, h *testkit.Host, repo string, layers, mib int) {
	t.Helper()
	img := empty.Image
	for i := range layers {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		data := make([]byte, mib<<20)
		rand.Read(data[:len(data)/2])
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint("file", i), Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	ref, err := name.ParseReference(h.Registry+"/"+repo, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithTransport(&http.Transport{DialContext: h.Namespace().DialContext})); err != nil {
		t.Fatal(err)
	}
}

// A daemon with 64 MiB pulls an image that is many times as large.
func TestADaemonOf64MiBPullsALargeImage(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	layers, mib := 4, 24
	if long() {
		layers, mib = 6, 100
	}
	pushLarge(t, h, "library/large", layers, mib)
	dir := group(t, "memory", h.Pid())
	limit, peak := dir+"/memory.limit_in_bytes", dir+"/memory.max_usage_in_bytes"
	if _, err := os.Stat(limit); err != nil {
		limit, peak = dir+"/memory.max", dir+"/memory.peak"
	}
	write(t, limit, fmt.Sprint(64<<20))
	h.MustDocker("pull", "-q", "large")
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", h.Pid()))) {
		if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "RssAnon") {
			t.Logf("daemon that pulled %d MiB: %s", layers*mib, strings.TrimSpace(line))
		}
	}
	t.Logf("peak of its cgroup: %s", read(t, peak))
	wantWorks(t, h)
}

package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ggcrtar "github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/sdk/conformance"
)

// BenchmarkPull pulls an image of some 100 MB in 4 layers and 6000 files from
// docker-registry on loopback, and tells the CPU time of the daemon's side and
// of both drivers.
func BenchmarkPull(b *testing.B) {
	if !conformance.Isolated(b) {
		return
	}
	h := newHarness(b)
	h.host = dockerRegistry(b)
	var layers []v1.Layer
	for i := range 4 {
		layers = append(layers, bigLayer(b, i))
	}
	h.upload("big:1", imageOf(b, layers...))
	for b.Loop() {
		cpu := h.cpu()
		if err := h.Pull(b.Context(), images.PullOptions{Image: h.ref("big:1")}, h.send); err != nil {
			b.Fatal(err)
		}
		for i, name := range []string{"cpu-daemon-s", "cpu-registry-s", "cpu-storage-s"} {
			b.ReportMetric(h.cpu()[i]-cpu[i], name)
		}
		b.StopTimer()
		if _, err := h.Remove(b.Context(), h.ref("big:1"), images.RemoveOptions{}); err != nil {
			b.Fatal(err)
		}
		if _, err := h.collector.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// cpu is the CPU time in seconds of this process, the registry driver and the
// storage driver.
func (h *harness) cpu() [3]float64 {
	var out [3]float64
	for i, pid := range []int{os.Getpid(), h.registry.Pid(), h.storage.Pid()} {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			h.t.Fatal(err)
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
		for _, n := range []int{11, 12} {
			ticks, err := strconv.Atoi(f[n])
			if err != nil {
				h.t.Fatal(err)
			}
			out[i] += float64(ticks) / 100
		}
	}
	return out
}

// bigLayer has 1500 files of 50 kB of words, which gzip makes a third of.
func bigLayer(t testing.TB, seed int) v1.Layer {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(seed)))
	words := make([]string, 4000)
	for i := range words {
		words[i] = strconv.FormatUint(r.Uint64(), 36)[:1+r.IntN(10)]
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range 1500 {
		var b strings.Builder
		for b.Len() < 50_000 {
			b.WriteString(words[int(r.ExpFloat64()*400)%len(words)] + " ")
		}
		h := tar.Header{Name: fmt.Sprintf("usr/share/%d/%d/%d", seed, i/100, i), Mode: 0o644, Size: int64(b.Len()), ModTime: time.Unix(1e9, 0)}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := ggcrtar.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// dockerRegistry runs docker-registry in the test's network namespace.
func dockerRegistry(t testing.TB) string {
	t.Helper()
	const addr = "127.0.0.1:5000"
	dir := t.TempDir()
	conf := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nlog:\n  accesslog:\n    disabled: true\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: " + dir + "\nhttp:\n  addr: " + addr + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

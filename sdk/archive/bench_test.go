package archive

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// debianTree is a tree of this machine's Debian packages: many small files.
func debianTree(b *testing.B) []byte {
	b.Helper()
	var layer bytes.Buffer
	must(b, Pack(b.Context(), &layer, "/usr/share/doc"))
	return layer.Bytes()
}

// BenchmarkUnpack reports microseconds an entry, beside GNU tar's.
func BenchmarkUnpack(b *testing.B) {
	layer := debianTree(b)
	entries := len(names(b, layer))
	perEntry := func(b *testing.B) {
		b.Helper()
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*entries), "µs/entry")
		b.ReportMetric(0, "ns/op")
	}
	for name, mode := range map[string]Whiteouts{"delete": Delete, "overlay": Overlay} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				b.StartTimer()
				unpacked(b, layer, dir, mode)
			}
			perEntry(b)
		})
	}
	b.Run("gnu-tar", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			cmd := exec.CommandContext(b.Context(), "tar", "-C", b.TempDir(), "--xattrs", "-xpf", "-")
			cmd.Stdin, cmd.Stderr = bytes.NewReader(layer), os.Stderr
			b.StartTimer()
			must(b, cmd.Run())
		}
		perEntry(b)
	})
}

// BenchmarkPack makes a layer.
func BenchmarkPack(b *testing.B) {
	for b.Loop() {
		debianTree(b)
	}
}

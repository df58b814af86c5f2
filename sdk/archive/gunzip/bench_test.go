package gunzip

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"
)

// BenchmarkGunzip decompresses programs and texts of this machine, some 40 MB
// of each, beside the libraries that it replaces. It reports output per second
// of CPU time, which the machine's load changes less.
func BenchmarkGunzip(b *testing.B) {
	for name, dir := range map[string]string{"programs": "/usr/bin", "texts": "/usr/share/doc"} {
		data := compressed(b, 6, content(b, dir))
		for lib, open := range map[string]func(io.Reader) (io.Reader, error){
			"gunzip":    func(r io.Reader) (io.Reader, error) { return NewReader(r) },
			"klauspost": func(r io.Reader) (io.Reader, error) { return kgzip.NewReader(r) },
			"standard":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		} {
			b.Run(name+"/"+lib, func(b *testing.B) { benchmark(b, data, open) })
		}
	}
}

func benchmark(b *testing.B, data []byte, open func(io.Reader) (io.Reader, error)) {
	b.Helper()
	buf := make([]byte, 256<<10)
	var total int64
	start := cpu(b)
	for b.Loop() {
		r, err := open(bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf)
		if err != nil {
			b.Fatal(err)
		}
		total += n
	}
	b.ReportMetric(float64(total)/1e6/(cpu(b)-start), "MB/cpu-s")
}

func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// content is what the files below dir hold, up to 40 MB.
func content(b *testing.B, dir string) []byte {
	b.Helper()
	var all []byte
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || len(all) > 40<<20 {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data[:min(len(data), 4<<20)]...)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return all
}

package unpack

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
)

func compressedWith(t testing.TB, kind, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	default:
		return []byte(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecompressLooksAtTheBytes(t *testing.T) {
	text := strings.Repeat("some text ", 10_000)
	for _, kind := range []string{"gzip", "zstd", "plain"} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader,
		} {
			r, err := Decompress(wrap(bytes.NewReader(compressedWith(t, kind, text))))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != text {
				t.Errorf("%s, %s: %d bytes, error %v", kind, name, len(got), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	twice := append(compressedWith(t, "gzip", "a"), compressedWith(t, "gzip", "b")...)
	r, err := Decompress(bytes.NewReader(twice))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "ab" {
		t.Errorf("two gzip members: %q, error %v", got, err)
	}
	if _, err := Decompress(strings.NewReader("BZh91AY")); !errdefs.IsNotImplemented(err) {
		t.Errorf("bzip2: error is %v", err)
	}
	if _, err := Decompress(strings.NewReader("\x1f\x8b\xff")); !errdefs.IsDataLoss(err) {
		t.Errorf("broken gzip: error is %v", err)
	}
}

// upper is a decoder of another format.
type upper struct{}

func (upper) Decode(magic []byte, r io.Reader) (io.ReadCloser, error) {
	if !bytes.HasPrefix(magic, []byte("UP")) {
		return nil, nil
	}
	data, err := io.ReadAll(r)
	return io.NopCloser(strings.NewReader(strings.ToLower(string(data)))), err
}

func TestDecodersCanBePluggedIn(t *testing.T) {
	r, err := decompress(strings.NewReader("UPPER"), []Decoder{upper{}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "upper" {
		t.Errorf("%q, error %v", got, err)
	}
}

func TestPipeCarriesBytesAndErrors(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), 200_000)
	boom := errors.New("boom")
	for _, end := range []error{nil, boom} {
		p := newPipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			for rest := text; len(rest) > 0; {
				b := p.buffer()
				n := copy(b, rest)
				rest = rest[n:]
				if !p.send(b[:n]) {
					t.Error("the reader has gone")
				}
			}
			p.closeWrite(end)
		})
		got, err := io.ReadAll(p)
		if !errors.Is(err, end) || !bytes.Equal(got, text) {
			t.Errorf("%d bytes, error %v, want %v", len(got), err, end)
		}
		wg.Wait()
	}
	p := newPipe()
	p.closeRead()
	for i := 0; p.send(p.buffer()); i++ {
		if i > 2*chunks {
			t.Fatal("a writer without a reader is not told")
		}
	}
}

func TestLayersEnterInTheirOrder(t *testing.T) {
	q := newQueue([]int{2, 0, 1})
	slots := make(chan struct{}, 3)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.enter(ended, slots, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("the last layer entered before its turn: error %v", err)
	}
	for _, i := range []int{2, 0} {
		if _, err := q.enter(t.Context(), slots, i); err != nil {
			t.Error(err)
		}
	}
	q = newQueue([]int{2, 0, 1})
	q.pass(0)
	q.pass(2)
	if _, err := q.enter(t.Context(), slots, 1); err != nil {
		t.Errorf("the others gave their turns away: error %v", err)
	}
}

func FuzzDecompress(f *testing.F) {
	for _, kind := range []string{"gzip", "zstd", "plain"} {
		f.Add(compressedWith(f, kind, "some text"))
	}
	f.Add([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decompress(bytes.NewReader(data))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
		_ = r.Close()
	})
}

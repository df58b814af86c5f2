package gunzip

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// rawHeader makes a stream of deflate data that lacks a checksum.
const rawHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

// FuzzAsStandardLibrary holds Reader against compress/gzip: both take the same
// streams, for the same bytes.
func FuzzAsStandardLibrary(f *testing.F) {
	for _, data := range samples() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, gzip.BestSpeed, 6} {
			f.Add(compressed(f, level, data[:min(len(data), 3000)]), false)
		}
	}
	f.Add(members(f), false)
	// Streams that compressors do not make: a single code of one bit, no code
	// for distances, a code of 15 bits, the reserved kind of block.
	for _, s := range []string{"\x05\xe0\x81\x08\x00\x00\x00\x00\x20\x7f\xeb\x0b", "\x0d\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x04", "\x4b\x04\x02", "\x07"} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, raw bool) {
		if raw {
			data = append([]byte(rawHeader), data...)
		}
		want, wantErr := all(func() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(data)) })
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(data), "bytes": iotest.OneByteReader(bytes.NewReader(data))} {
			got, err := all(func() (io.Reader, error) { return NewReader(r) })
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s: error is %v where the standard library has %v", name, err, wantErr)
			}
			if errors.Is(wantErr, gzip.ErrChecksum) != errors.Is(err, ErrChecksum) {
				t.Fatalf("%s: error is %v where the standard library has %v", name, err, wantErr)
			}
			if n := min(len(got), len(want)); !bytes.Equal(got[:n], want[:n]) || len(got) != len(want) && !cutShort(err) {
				t.Fatalf("%s: %d bytes where the standard library has %d, or others", name, len(got), len(want))
			}
		}
	})
}

// cutShort: how much came before such an error is not promised.
func cutShort(err error) bool { return err != nil && !errors.Is(err, ErrChecksum) }

const fuzzMax = 1 << 20

func all(open func() (io.Reader, error)) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, fuzzMax))
}

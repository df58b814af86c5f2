package unpack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"

	"github.com/strakehq/strake/sdk/archive/gunzip"
)

// Decoder decompresses. Faster inflaters than the built-in one are plugged in
// with Options.Decoders.
type Decoder interface {
	// Decode returns nil, nil for a stream that is not its own. magic are its
	// first bytes.
	Decode(magic []byte, r io.Reader) (io.ReadCloser, error)
}

func isForeign(mediaType string) bool {
	return strings.Contains(mediaType, "foreign") || strings.Contains(mediaType, "nondistributable")
}

const (
	magicLen = 6
	// maxWindow bounds the memory that a zstd stream may ask for.
	maxWindow = 128 << 20
)

// decompress looks at the stream itself: media types are often wrong about
// the compression, and a wrong guess fails at the diff id anyway.
func decompress(r io.Reader, more []Decoder) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(magicLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, d := range more {
		rc, err := d.Decode(magic, br)
		if rc != nil || err != nil {
			return rc, err
		}
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gunzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, errdefs.ErrDataLoss)
		}
		return z, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), isSkippable(magic):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w: %w", err, errdefs.ErrDataLoss)
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(magic, []byte("BZh")), bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z'}):
		return nil, fmt.Errorf("compressed with bzip2 or xz, which are no layer formats: %w", errdefs.ErrNotImplemented)
	default:
		return io.NopCloser(br), nil
	}
}

// isSkippable knows the frame with which zstd:chunked and pzstd may begin.
func isSkippable(magic []byte) bool {
	return len(magic) >= 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:4], []byte{0x2a, 0x4d, 0x18})
}

// Decompress returns the plain bytes of a gzip, zstd or plain stream.
func Decompress(r io.Reader) (io.ReadCloser, error) { return decompress(r, nil) }

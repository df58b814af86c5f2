// Package stdcopy writes and reads the frames in which the Docker Engine API carries
// standard output and standard error on one connection: stream, three zero
// bytes, big-endian length, bytes. Docker's clients read
// them with github.com/moby/moby/api/pkg/stdcopy, which makes room for as much as
// a header says; the reader here does not believe it.
package stdcopy

import (
	"encoding/binary"
	"io"

	"github.com/moby/moby/api/pkg/stdcopy"
)

// HeaderSize is what a frame costs.
const HeaderSize = 8

// maxFrame is the longest that clients' buffers are made for; longer writes
// are split.
const maxFrame = 1 << 20

// AppendHeader appends the header of a frame of n bytes.
func AppendHeader(b []byte, stream stdcopy.StdType, n int) []byte {
	b = append(b, byte(stream), 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// Writer frames what is written to it as one stream. It is as safe for
// concurrent use as W, to which it writes once per frame.
type Writer struct {
	W      io.Writer
	Stream stdcopy.StdType
}

// Write implements io.Writer; the count is of p's bytes.
func (w Writer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+maxFrame)]
		frame := AppendHeader(make([]byte, 0, HeaderSize+len(part)), w.Stream, len(part))
		n, err := w.W.Write(append(frame, part...))
		done += max(0, min(n-HeaderSize, len(part)))
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

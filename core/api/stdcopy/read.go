package stdcopy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/moby/moby/api/pkg/stdcopy"
)

const (
	// wholeFrame is up to where a frame is handed on in one piece.
	wholeFrame = 64 << 10
	// maxMessage bounds what is shown of a daemon's own error.
	maxMessage = 4 << 10
)

// Copy takes frames apart until r ends: what is for standard error goes to errs,
// all else to out. The end may come within a frame, of which the beginning counts,
// as when a process or a daemon is killed. Memory does not depend on what a header
// says. An error of the daemon's own in the stream is returned as one.
func Copy(out, errs io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, wholeFrame)
	for {
		head, err := in.Peek(HeaderSize)
		if err != nil {
			return unlessEnd(err)
		}
		stream, n := stdcopy.StdType(head[0]), binary.BigEndian.Uint32(head[4:])
		if _, err := in.Discard(HeaderSize); err != nil {
			return err
		}
		w := out
		switch stream {
		case stdcopy.Stdin, stdcopy.Stdout:
		case stdcopy.Stderr:
			w = errs
		case stdcopy.Systemerr:
			return systemError(in, n)
		default:
			return fmt.Errorf("output stream: unrecognized stream: %d", stream)
		}
		if err := frame(w, in, int64(n)); err != nil {
			return unlessEnd(err)
		}
	}
}

// frame hands on n bytes.
func frame(w io.Writer, in *bufio.Reader, n int64) error {
	for n > 0 {
		p, err := in.Peek(int(min(n, wholeFrame)))
		n -= int64(len(p))
		if _, werr := w.Write(p); werr != nil {
			return werr
		}
		if err != nil {
			return err
		}
		if _, err := in.Discard(len(p)); err != nil {
			return err
		}
	}
	return nil
}

func systemError(in *bufio.Reader, n uint32) error {
	p, err := in.Peek(int(min(n, maxMessage)))
	return errors.Join(fmt.Errorf("error from daemon in stream: %s", p), unlessEnd(err))
}

func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

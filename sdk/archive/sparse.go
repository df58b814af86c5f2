package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// sparseBlock is the granularity in which holes are kept.
const sparseBlock = 4096

// zeros is only read.
var zeros [sparseBlock]byte

// isSparse recognizes the GNU formats old, 0.0, 0.1 and 1.0. archive/tar reads
// all of them, but hands holes out as zeros.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// writeSparse copies content to fd and leaves holes where it is zero.
func (u *unpacker) writeSparse(fd int, size int64, content io.Reader) error {
	if err := unix.Ftruncate(fd, size); err != nil {
		return fmt.Errorf("set size %d: %w", size, err)
	}
	var off int64
	for off < size {
		b := u.buf[:min(size-off, int64(len(u.buf)))]
		if _, err := io.ReadFull(content, b); err != nil {
			return contentError(err)
		}
		if err := u.writeBlocks(fd, b, off); err != nil {
			return err
		}
		off += int64(len(b))
		if err := u.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// writeBlocks writes the blocks of b that hold anything.
func (u *unpacker) writeBlocks(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n := 0
		for n < len(b) && !bytes.Equal(b[n:min(n+sparseBlock, len(b))], zeros[:min(sparseBlock, len(b)-n)]) {
			n = min(n+sparseBlock, len(b))
		}
		if n == 0 { // a hole
			n = min(sparseBlock, len(b))
		} else if err := pwriteAll(fd, b[:n], off); err != nil {
			return err
		} else {
			u.res.Bytes += int64(n)
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

func pwriteAll(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b, off = b[max(n, 0):], off+int64(max(n, 0))
	}
	return nil
}

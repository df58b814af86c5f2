// Package gunzip decompresses gzip streams (RFC 1952) about twice as fast as
// the standard library, for layers, whose decompression takes most of a pull.
//
// It is written after the ideas of libdeflate and ISA-L: bits are taken from a
// 64-bit buffer that is filled without branches, tables are looked up by 11
// bits and give up to three literals at once, matches are copied in words. It
// reads what compress/gzip reads, members one after another included, and
// refuses what it refuses; the checksum and the size are verified.
package gunzip

import (
	"errors"
	"hash/crc32"
	"io"
)

// Errors of a stream that is not what it should be. A stream that is cut off
// gives io.ErrUnexpectedEOF.
var (
	ErrHeader   = errors.New("gzip: invalid header")
	ErrChecksum = errors.New("gzip: invalid checksum")
	ErrCorrupt  = errors.New("gzip: corrupt deflate data")
)

const (
	maxDistance = 32 << 10
	// outSize is how much is decompressed at a time: with the history and the
	// tables it stays in the second cache.
	outSize = 128 << 10
	// outRoom is the most that one round of the fast loop writes: three
	// lookups of literals, a match of 258 bytes, and the words that overshoot.
	outRoom = 320
	inSize  = 64 << 10
	// inRoom is the most that one round of the fast loop looks at.
	inRoom = 32
	// unread is how many bytes the fast loop may give back, at most.
	unread = 8
)

// stage is what comes next in the stream.
type stage uint8

const (
	atMember  stage = iota // a header, or the end
	atBlock                // the header of a block
	inStored               // bytes of a block without compression
	inCodes                // symbols
	atTrailer              // checksum and size
)

// Reader decompresses. It is for one goroutine.
type Reader struct {
	src io.Reader
	err error // of src, sticky
	end error // what Read returns after the output, sticky

	in      []byte // in[pos:fill] was read and not used
	pos     int
	fill    int
	bits    uint64 // the next bits, the first one lowest
	n       uint   // how many of them count
	stage   stage
	last    bool // the present block is the member's last
	stored  int  // bytes left of a stored block
	crc     uint32
	size    uint32
	win     []byte // history, then output
	hist    int    // where the member's history begins in win
	out     int    // the end of the output in win
	sum     int    // up to where crc and size know the output
	read    int    // up to where it was handed out
	lit     litTable
	dist    distTable
	pre     preTable
	census  codes
	lengths [maxLit + maxDist]uint8
	means   meanings
	isFixed bool // the tables are those of fixed codes
}

// NewReader returns a Reader of the stream r, of which it may read more than
// the stream takes. The header is read at once: what is no gzip stream is
// ErrHeader.
func NewReader(r io.Reader) (*Reader, error) {
	z := &Reader{src: r, in: make([]byte, inSize), win: make([]byte, maxDistance+outSize+outRoom)}
	z.means.set()
	if err := z.member(); err != nil {
		return nil, err
	}
	return z, nil
}

// Read implements io.Reader.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := z.more(); err != nil {
		return 0, err
	}
	n := copy(p, z.win[z.read:z.out])
	z.read += n
	return n, nil
}

// WriteTo implements io.WriterTo.
func (z *Reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := z.more(); errors.Is(err, io.EOF) {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(z.win[z.read:z.out])
		z.read += n
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// Close implements io.Closer. The stream's source stays open.
func (z *Reader) Close() error { return nil }

// more returns nil when there is output to hand out.
func (z *Reader) more() error {
	for z.read == z.out {
		if z.end != nil {
			return z.end
		}
		z.slide()
		z.end = z.step()
		z.account()
	}
	return nil
}

// slide makes room for output when there is little.
func (z *Reader) slide() {
	if z.out < maxDistance+outSize/2 {
		return
	}
	shift := z.out - maxDistance
	copy(z.win, z.win[shift:z.out])
	z.hist = max(0, z.hist-shift)
	z.out, z.read, z.sum = maxDistance, maxDistance, maxDistance
}

// account brings checksum and size up to the output.
func (z *Reader) account() {
	z.crc = crc32.Update(z.crc, crc32.IEEETable, z.win[z.sum:z.out])
	z.size += uint32(z.out - z.sum)
	z.sum = z.out
}

// step goes on until there is output, or an error.
func (z *Reader) step() error {
	switch z.stage {
	case atMember:
		return z.member()
	case atBlock:
		return z.block()
	case inStored:
		return z.copyStored()
	case inCodes:
		return z.codes()
	default:
		return z.trailer()
	}
}

// refill reads more input. At the end of src it returns false.
func (z *Reader) refill() bool {
	if shift := z.pos - unread; shift > 0 {
		copy(z.in, z.in[shift:z.fill])
		z.fill -= shift
		z.pos = unread
	}
	for tries := 0; z.err == nil && z.fill < len(z.in); tries++ {
		var n int
		n, z.err = z.src.Read(z.in[z.fill:])
		z.fill += n
		if n > 0 {
			return true
		}
		if z.err == nil && tries == 100 {
			z.err = io.ErrNoProgress
		}
	}
	return false
}

// cut is the error for input that ended too early.
func (z *Reader) cut() error {
	if errors.Is(z.err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return z.err
}

// need makes n the count of at least k bits, 56 at most. False: the input ended.
func (z *Reader) need(k uint) bool {
	for z.n < k {
		if z.pos == z.fill && !z.refill() {
			return false
		}
		z.bits |= uint64(z.in[z.pos]) << (z.n & 63)
		z.pos++
		z.n += 8
	}
	return true
}

// take returns k bits, which are there.
func (z *Reader) take(k uint) uint32 {
	v := uint32(z.bits & (1<<(k&63) - 1))
	z.bits >>= k & 63
	z.n -= k
	return v
}

// getByte returns the next byte; bits are on its border.
func (z *Reader) getByte() (byte, error) {
	if !z.need(8) {
		return 0, z.cut()
	}
	return byte(z.take(8)), nil
}

package gunzip

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
)

// member reads a member's header. Where none begins, the stream ends.
func (z *Reader) member() error {
	if !z.need(8) {
		return z.err
	}
	var h header
	fixed, err := h.read(z, 10)
	if err != nil {
		return err
	}
	if fixed[0] != 0x1f || fixed[1] != 0x8b || fixed[2] != 8 {
		return ErrHeader
	}
	if err := h.fields(z, fixed[3]); err != nil {
		return err
	}
	z.crc, z.size, z.hist, z.stage = 0, 0, z.out, atBlock
	return nil
}

// fields reads past what the flags announce.
func (h *header) fields(z *Reader, flags byte) error {
	if flags&flagExtra != 0 {
		b, err := h.read(z, 2)
		if err != nil {
			return err
		}
		if _, err := h.read(z, int(binary.LittleEndian.Uint16(b))); err != nil {
			return err
		}
	}
	for _, f := range []byte{flagName, flagComment} {
		if flags&f != 0 {
			if err := h.text(z); err != nil {
				return err
			}
		}
	}
	if flags&flagHeaderCRC == 0 {
		return nil
	}
	want := uint16(h.crc) // RFC 1952: the lower half
	b, err := h.read(z, 2)
	if err == nil && binary.LittleEndian.Uint16(b) != want {
		err = ErrHeader
	}
	return err
}

// header is one that is being read.
type header struct{ crc uint32 }

func (h *header) read(z *Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	for i := range b {
		var err error
		if b[i], err = z.getByte(); err != nil {
			return nil, err
		}
	}
	h.crc = crc32.Update(h.crc, crc32.IEEETable, b)
	return b, nil
}

// maxText is the longest name or comment that compress/gzip takes.
const maxText = 511

func (h *header) text(z *Reader) error {
	for range maxText + 1 {
		b, err := h.read(z, 1)
		if err != nil {
			return err
		}
		if b[0] == 0 {
			return nil
		}
	}
	return ErrHeader
}

// trailer verifies a member.
func (z *Reader) trailer() error {
	z.take(z.n & 7)
	var b [8]byte
	for i := range b {
		var err error
		if b[i], err = z.getByte(); err != nil {
			return err
		}
	}
	if crc, size := binary.LittleEndian.Uint32(b[:4]), binary.LittleEndian.Uint32(b[4:]); crc != z.crc || size != z.size {
		return fmt.Errorf("%w: is %08x over %d bytes, the stream says %08x over %d", ErrChecksum, z.crc, z.size, crc, size)
	}
	z.stage = atMember
	return nil
}

package gunzip

import (
	"encoding/binary"
)

// codes decodes symbols until the block or the room ends, or until the input
// runs short and there is output to hand out before waiting for more.
func (z *Reader) codes() error {
	for z.stage == inCodes && z.out <= len(z.win)-outRoom {
		if z.fill-z.pos >= inRoom {
			if err := z.fast(); err != nil {
				return err
			}
			continue
		}
		if z.n < 48 {
			if z.out > z.read {
				return nil
			}
			if !z.need(48) && z.err == nil {
				return z.cut()
			}
			if z.fill-z.pos >= inRoom {
				continue
			}
		}
		if err := z.symbol(); err != nil {
			return err
		}
	}
	return nil
}

// symbol decodes one entry with care for the end of the input.
func (z *Reader) symbol() error {
	e := z.lit[z.bits&litMask]
	if e&isOther != 0 && e&isLiteral == 0 {
		var err error
		if e, err = z.other(e, z.lit[:]); err != nil {
			return err
		}
	}
	if uint(e&takes) > z.n {
		return z.cut()
	}
	if e&isLiteral != 0 {
		binary.LittleEndian.PutUint32(z.win[z.out:], e>>literal1)
		z.out += int(e >> countAt & 3)
		z.take(uint(e & takes))
		return nil
	}
	if e&isEnd != 0 {
		z.take(uint(e & takes))
		z.stage = atBlock
		return nil
	}
	length := z.value(e)
	e = z.dist[z.bits&distMask]
	if e&isOther != 0 {
		var err error
		if e, err = z.other(e, z.dist[:]); err != nil {
			return err
		}
	}
	if uint(e&takes) > z.n {
		return z.cut()
	}
	distance := z.value(e)
	if distance > z.out-z.hist {
		return ErrCorrupt
	}
	for range length {
		z.win[z.out] = z.win[z.out-distance]
		z.out++
	}
	return nil
}

// other resolves an entry that is no symbol.
func (z *Reader) other(e entry, table []entry) (entry, error) {
	if e&isSubtable != 0 {
		if uint(e&takes) > z.n {
			return 0, z.cut()
		}
		z.take(uint(e & takes))
		e = table[uint64(e>>valueAt)+z.bits&(1<<(e>>codeAt&maxCode)-1)]
	}
	if e&isOther != 0 && e&(isLiteral|isEnd) == 0 {
		if z.n < maxCode && z.err != nil {
			return 0, z.cut()
		}
		return 0, ErrCorrupt
	}
	return e, nil
}

// value takes a length or a distance, code and extra bits.
func (z *Reader) value(e entry) int {
	code := uint(e >> codeAt & maxCode)
	z.take(code)
	return int(e>>valueAt) + int(z.take(uint(e&takes)-code))
}

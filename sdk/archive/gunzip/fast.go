package gunzip

import "encoding/binary"

// fast decodes symbols while there are inRoom bytes of input and room for
// outRoom bytes of output, which the loop checks once a round.
//
// bits may hold more than n bits: those that follow, which filling up puts in
// the same place once more.
func (z *Reader) fast() error {
	in, win := z.in, z.win
	pos, out := z.pos, z.out
	bits, n := z.bits, z.n
	inEnd, outEnd := z.fill-inRoom, len(z.win)-outRoom
	lit, dist := &z.lit, &z.dist
	var err error
	for pos <= inEnd && out <= outEnd {
		bits |= load64(in, pos) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56 // 56 bits at least
		e := lit[bits&litMask]
		if e&isLiteral != 0 {
			store32(win, out, e>>literal1)
			out += int(e >> countAt & 3)
			bits >>= e & takes
			n -= uint(e & takes)
			e = lit[bits&litMask]
			if e&isLiteral != 0 {
				store32(win, out, e>>literal1)
				out += int(e >> countAt & 3)
				bits >>= e & takes
				n -= uint(e & takes)
				e = lit[bits&litMask]
				if e&isLiteral != 0 {
					store32(win, out, e>>literal1)
					out += int(e >> countAt & 3)
					bits >>= e & takes
					n -= uint(e & takes)
					continue
				}
			}
		}
		if e&isOther != 0 { // 34 bits at least
			if e&isSubtable != 0 {
				bits >>= e & takes
				n -= uint(e & takes)
				e = lit[(uint64(e>>valueAt)+bits&(1<<(e>>codeAt&maxCode)-1))%uint64(len(lit))]
				if e&isLiteral != 0 {
					store32(win, out, e>>literal1)
					out++
					bits >>= e & takes
					n -= uint(e & takes)
					continue
				}
			}
			if e&isOther != 0 {
				if e&isEnd == 0 {
					err = ErrCorrupt
					break
				}
				bits >>= e & takes
				n -= uint(e & takes)
				z.stage = atBlock
				break
			}
		}
		length := int(e>>valueAt) + int(bits&(1<<(e&takes)-1)>>(e>>codeAt&maxCode))
		bits >>= e & takes
		n -= uint(e & takes)
		bits |= load64(in, pos) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56
		e = dist[bits&distMask]
		if e&isOther != 0 {
			if e&isSubtable == 0 {
				err = ErrCorrupt
				break
			}
			bits >>= e & takes
			n -= uint(e & takes)
			e = dist[(uint64(e>>valueAt)+bits&(1<<(e>>codeAt&maxCode)-1))%uint64(len(dist))]
			if e&isOther != 0 {
				err = ErrCorrupt
				break
			}
		}
		distance := int(e>>valueAt) + int(bits&(1<<(e&takes)-1)>>(e>>codeAt&maxCode))
		bits >>= e & takes
		n -= uint(e & takes)
		if distance > out-z.hist {
			err = ErrCorrupt
			break
		}
		repeat(win, out, length, distance)
		out += length
	}
	z.pos, z.out = pos-int(n>>3), out
	z.n = n & 7
	z.bits = bits & (1<<z.n - 1)
	return err
}

// repeat copies length bytes from distance before out to out, and up to 15
// bytes more.
func repeat(win []byte, out, length, distance int) {
	from, end := out-distance, out+length
	switch {
	case distance >= 16:
		for ; out < end; out, from = out+16, from+16 {
			*(*[16]byte)(win[out:]) = *(*[16]byte)(win[from:])
		}
	case distance >= 8:
		for ; out < end; out, from = out+8, from+8 {
			store64(win, out, load64(win, from))
		}
	case distance == 1:
		v := 0x0101010101010101 * (load64(win, from) & 0xff)
		for ; out < end; out += 8 {
			store64(win, out, v)
		}
	default: // the first distance bytes of each eight are right
		for ; out < end; out, from = out+distance, from+distance {
			store64(win, out, load64(win, from))
		}
	}
}

func load64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at : at+8]) }

func store64(b []byte, at int, v uint64) { binary.LittleEndian.PutUint64(b[at:at+8], v) }

func store32(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:at+4], v) }

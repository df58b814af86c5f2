package gunzip

// block reads a block's header and makes its tables.
func (z *Reader) block() error {
	if z.last {
		z.last = false
		z.stage = atTrailer
		return nil
	}
	if !z.need(3) {
		return z.cut()
	}
	z.last = z.take(1) == 1
	switch z.take(2) {
	case 0:
		return z.storedHeader()
	case 1:
		z.fixed()
	case 2:
		if err := z.dynamic(); err != nil {
			return err
		}
	default:
		return ErrCorrupt
	}
	z.stage = inCodes
	return nil
}

func (z *Reader) storedHeader() error {
	z.take(z.n & 7)
	if !z.need(32) {
		return z.cut()
	}
	n := z.take(16)
	if z.take(16) != n^0xffff {
		return ErrCorrupt
	}
	z.stored, z.stage = int(n), inStored
	return nil
}

func (z *Reader) copyStored() error {
	for z.stored > 0 && z.n > 0 { // whole bytes
		z.win[z.out] = byte(z.take(8))
		z.out++
		z.stored--
	}
	if z.stored == 0 {
		z.stage = atBlock
		return nil
	}
	if z.pos == z.fill && !z.refill() {
		return z.cut()
	}
	room := z.win[z.out : len(z.win)-outRoom]
	n := copy(room[:min(len(room), z.stored)], z.in[z.pos:z.fill])
	z.pos += n
	z.out += n
	z.stored -= n
	return nil
}

// fixed makes the tables of RFC 1951, 3.2.6.
func (z *Reader) fixed() {
	if z.isFixed {
		return
	}
	l := z.lengths[:maxLit]
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	d := z.lengths[maxLit : maxLit+maxDist]
	for i := range d {
		d[i] = 5
	}
	z.tables(l, d)
	z.isFixed = true
}

// tables makes both. False: they are no codes.
func (z *Reader) tables(lit, dist []uint8) bool {
	z.isFixed = false
	if !z.census.census(lit) {
		return false
	}
	z.census.build(z.lit[:], litBits, &z.means.lit)
	pack(&z.lit)
	if !z.census.census(dist) {
		return false
	}
	z.census.build(z.dist[:], distBits, &z.means.dist)
	return true
}

// preOrder is the order in which the lengths of the codes for lengths come.
func preOrder() [maxPre]uint8 {
	return [maxPre]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
}

// dynamic reads the codes of RFC 1951, 3.2.7.
func (z *Reader) dynamic() error {
	if !z.need(14) {
		return z.cut()
	}
	lit, dist, pre := int(z.take(5))+257, int(z.take(5))+1, int(z.take(4))+4
	if lit > 286 || dist > 30 {
		return ErrCorrupt
	}
	var lengths [maxPre]uint8
	order := preOrder()
	for _, sym := range order[:pre] {
		if !z.need(3) {
			return z.cut()
		}
		lengths[sym] = uint8(z.take(3))
	}
	if !z.census.census(lengths[:]) {
		return ErrCorrupt
	}
	z.census.build(z.pre[:], preBits, &z.means.pre)
	if err := z.readLengths(z.lengths[:lit+dist]); err != nil {
		return err
	}
	if !z.tables(z.lengths[:lit], z.lengths[lit:lit+dist]) {
		return ErrCorrupt
	}
	return nil
}

// readLengths reads the run-length coded lengths of the codes.
func (z *Reader) readLengths(to []uint8) error {
	for i := 0; i < len(to); {
		z.need(preBits + 7) // fewer may do, at the end of the input
		e := z.pre[z.bits&preMask]
		if e&isOther != 0 {
			return ErrCorrupt
		}
		sym := uint8(e >> valueAt)
		extra, base := uint(0), 1
		switch sym {
		case 16:
			extra, base = 2, 3
		case 17:
			extra, base = 3, 3
		case 18:
			extra, base = 7, 11
		}
		if z.n < uint(e&takes)+extra {
			return z.cut()
		}
		z.take(uint(e & takes))
		run := base + int(z.take(extra))
		if i+run > len(to) || sym == 16 && i == 0 {
			return ErrCorrupt
		}
		value := sym
		switch sym {
		case 16:
			value = to[i-1]
		case 17, 18:
			value = 0
		}
		for range run {
			to[i] = value
			i++
		}
	}
	return nil
}

package gunzip

import "math/bits"

// An entry of a table says what the next bits mean:
//
//	literals    bits 0-4 how many bits they take, 5-6 how many there are (1-3),
//	            7 set, 8-31 the literals, the first one lowest
//	length or   bits 0-4 how many bits the code and the extra bits take, 8-11
//	distance    how many the code alone, 16-31 the value without extra bits
//	other       bit 6 set, and one of
//	            bit 12: the block's end; bits 0-4 as above
//	            bit 13: more bits decide; bits 0-4 are to be dropped, then 8-11
//	            how many bits more, 16-31 where the rest of the table is
//	            neither: no code, or one that may not occur
type entry = uint32

const (
	isLiteral  entry = 1 << 7
	isOther    entry = 1 << 6
	isEnd      entry = 1 << 12
	isSubtable entry = 1 << 13
	invalid    entry = isOther
	takes      entry = 31
)

// Where the parts of an entry begin.
const (
	countAt  = 5
	literal1 = 8
	codeAt   = 8
	valueAt  = 16
)

const (
	litBits  = 11
	distBits = 8
	preBits  = 7
	maxCode  = 15 // bits of the longest code
	maxLit   = 288
	maxDist  = 32
	maxPre   = 19
)

// The sizes are powers of two above what complete codes can need (2342 and 402
// entries; zlib's program enough.c tells), so that masks spare checks of bounds.
type (
	litTable  [4096]entry
	distTable [512]entry
	preTable  [128]entry
)

const (
	litMask  = 1<<litBits - 1
	distMask = 1<<distBits - 1
	preMask  = 1<<preBits - 1
)

// meaning of symbols, without the bits of their codes.
func litEntry(sym int) entry {
	switch {
	case sym < 256:
		return entry(sym)<<literal1 | isLiteral | 1<<countAt
	case sym == 256:
		return isOther | isEnd
	case sym < 265:
		return entry(sym-257+3) << valueAt
	case sym < 285:
		extra := entry(sym-261) / 4
		base := (4+entry(sym-261)%4)<<extra + 3
		return base<<valueAt | extra
	case sym == 285:
		return 258 << valueAt
	default:
		return invalid
	}
}

func distEntry(sym int) entry {
	switch {
	case sym < 4:
		return entry(sym+1) << valueAt
	case sym < 30:
		extra := entry(sym-2) / 2
		base := (2+entry(sym)%2)<<extra + 1
		return base<<valueAt | extra
	default:
		return invalid
	}
}

func preEntry(sym int) entry { return entry(sym) << valueAt }

// codes is the census of a set of codes.
type codes struct {
	count  [maxCode + 1]uint16
	sorted [maxLit]uint16 // symbols by length, then by number
	used   int
}

// census counts and sorts. False: more codes than bits allow, or fewer, which
// is good for a single code of one bit and for none.
func (c *codes) census(lengths []uint8) bool {
	c.count = [maxCode + 1]uint16{}
	for _, l := range lengths {
		c.count[l&maxCode]++
	}
	var at [maxCode + 2]uint16
	left := 1
	for l := 1; l <= maxCode; l++ {
		at[l+1] = at[l] + c.count[l]
		if left = left<<1 - int(c.count[l]); left < 0 {
			return false
		}
	}
	c.used = int(at[maxCode+1])
	for sym, l := range lengths {
		if l != 0 {
			c.sorted[at[l&maxCode]%maxLit] = uint16(sym)
			at[l&maxCode]++
		}
	}
	return left == 0 || c.used == 0 || c.used == 1 && c.count[1] == 1
}

// build fills a table whose first 1<<tableBits entries are looked up first.
func (c *codes) build(t []entry, tableBits uint, meaning *[maxLit]entry) {
	if c.used <= 1 { // not complete: some bits mean nothing
		for i := range t[:1<<tableBits] {
			t[i] = invalid
		}
	}
	var code uint // with its first bit lowest, as in the stream
	next := 0
	size := uint(1)
	length := uint(1)
	for ; length <= tableBits; length++ {
		copy(t[size:2*size], t[:size])
		size *= 2
		for range c.count[length] {
			t[code] = withCode(meaning[c.sorted[next]], length, length)
			next++
			code = increment(code, length)
		}
	}
	c.subtables(t, tableBits, meaning, code, next)
}

// subtables is build for the codes that are longer.
func (c *codes) subtables(t []entry, tableBits uint, meaning *[maxLit]entry, code uint, next int) {
	mask := uint(1)<<tableBits - 1
	prefix := ^uint(0)
	free := mask + 1 // the first entry that is not taken
	var at, sub uint
	for length := tableBits + 1; length <= maxCode; length++ {
		for range c.count[length] {
			if code&mask != prefix {
				prefix = code & mask
				sub = c.subtableBits(length, tableBits)
				at = free
				free += 1 << sub
				t[prefix] = isOther | isSubtable | entry(tableBits) | entry(sub)<<codeAt | entry(at)<<valueAt
			}
			e := withCode(meaning[c.sorted[next]], length-tableBits, length-tableBits)
			for i := code >> tableBits; i < 1<<sub; i += 1 << (length - tableBits) {
				t[at+i] = e
			}
			next++
			code = increment(code, length)
			c.count[length]-- // subtableBits counts those that are left
		}
	}
}

// subtableBits is by how many bits to look up the codes that share a prefix,
// the next of which is of the given length.
func (c *codes) subtableBits(length, tableBits uint) uint {
	sub := length - tableBits
	left := 1<<sub - int(c.count[length])
	for left > 0 && length < maxCode {
		length++
		sub++
		left = left<<1 - int(c.count[length])
	}
	return sub
}

func withCode(e entry, length, code uint) entry {
	if e&(isLiteral|isOther) != 0 {
		return e + entry(length)
	}
	return e + entry(length) + entry(code)<<codeAt
}

// increment returns the next code of a length, bits reversed.
func increment(code, length uint) uint {
	zeros := code ^ (1<<length - 1)
	if zeros == 0 {
		return 0
	}
	top := uint(1) << (bits.Len(zeros) - 1)
	return code&(top-1) | top
}

// pack makes entries of literals that leave bits over hold the literals that
// the bits left mean, too. An entry is packed with one of a smaller index,
// which therefore has to be handled later.
func pack(t *litTable) {
	for i := litMask; i >= 0; i-- {
		e := t[i]
		if e&isLiteral == 0 {
			continue
		}
		len1 := e & takes
		e2 := t[i>>len1]
		if e2&isLiteral == 0 {
			continue
		}
		len2 := e2 & takes
		if len1+len2 > litBits {
			continue
		}
		t[i] = e&^(takes|3<<countAt) | len1 + len2 | 2<<countAt | e2>>literal1<<(literal1+8)
	}
}

// meanings are the entries of all symbols.
type meanings struct{ lit, dist, pre [maxLit]entry }

func (m *meanings) set() {
	for sym := range maxLit {
		m.lit[sym], m.dist[sym], m.pre[sym] = litEntry(sym), distEntry(sym), preEntry(sym)
	}
}

// Package jsonlog writes a container's output as Docker's json-file log, so
// that a writer's sudden death neither loses nor doubles a line.
package jsonlog

import (
	"encoding/binary"
	"unicode/utf8"
)

// A chunk of the size that logs mostly consist of: scanned eight bytes at a
// time, since the encoder is the shim's hot loop.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string exactly as encoding/json does, HTML
// escapes included, with invalid UTF-8 replaced.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		n := plain(s)
		dst = append(dst, s[:n]...)
		s = s[n:]
		if len(s) == 0 {
			break
		}
		if s[0] < utf8.RuneSelf {
			dst = appendEscaped(dst, s[0])
			s = s[1:]
			continue
		}
		var size int
		dst, size = appendRune(dst, s)
		s = s[size:]
	}
	return append(dst, '"')
}

// plain returns the length of the prefix that needs no second look.
func plain(s []byte) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		if special(binary.LittleEndian.Uint64(s[i:])) {
			break
		}
	}
	for ; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			break
		}
	}
	return i
}

// special reports whether one of eight bytes may need an escape: a control
// character, one beyond ASCII, or one of "\<>&.
func special(w uint64) bool {
	m := w | (w - ones*' ') // below space borrows; beyond ASCII has the bit
	for _, c := range [...]uint64{'"', '\\', '&'} {
		x := w ^ ones*c
		m |= (x - ones) &^ x
	}
	x := (w &^ (ones * 2)) ^ ones*'<' // '<' and '>' differ in one bit
	m |= (x - ones) &^ x
	return m&highs != 0
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

// appendRune appends the first rune of s, which is not ASCII, and returns its
// size. Line and paragraph separator are escaped for JavaScript's sake.
func appendRune(dst, s []byte) ([]byte, int) {
	r, size := utf8.DecodeRune(s)
	switch {
	case r == utf8.RuneError && size == 1:
		return append(dst, `\ufffd`...), 1
	case r == '\u2028' || r == '\u2029':
		return append(dst, '\\', 'u', '2', '0', '2', hexDigits[r&15]), size
	default:
		return append(dst, s[:size]...), size
	}
}

package jsonlog

import "bytes"

// MaxPiece is the longest piece of a line that becomes one entry, as Docker's.
const MaxPiece = 16 << 10

// cut returns the length of the first entry in data: a line with its newline,
// or MaxPiece bytes of a longer one; 0 when more is needed to tell.
func cut(data []byte) int {
	head := data[:min(len(data), MaxPiece)]
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		return i + 1
	}
	if len(head) == MaxPiece {
		return MaxPiece
	}
	return 0
}

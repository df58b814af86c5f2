package jsonlog

import (
	"bytes"
	"encoding/json"
	"io"
)

// settle brings log and journal together: it cuts off a torn last line and
// counts the entries that were written after the position was noted. Entries
// follow from a stream's bytes alone, so counting them is enough to leave them
// out when the bytes come by again.
func (w *Writer) settle(from start) error {
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	known := min(w.pos.size, info.Size())
	if info.Size() < w.pos.size || from == fresh { // rotated since, or not ours
		known = 0
	}
	whole := info.Size()
	if from != fresh {
		if whole, err = w.read(known, info.Size()); err != nil {
			return err
		}
	}
	if whole < info.Size() {
		if err := w.file.Truncate(whole); err != nil {
			return err
		}
	}
	if from == torn {
		w.pos.skip = [2]int64{}
	}
	w.pos.size = whole
	w.journal.store(w.pos)
	return nil
}

// read counts the entries between two offsets of the log, and returns where
// the last whole one ends.
func (w *Writer) read(begin, end int64) (int64, error) {
	tail, err := io.ReadAll(io.NewSectionReader(w.file, begin, end-begin))
	if err != nil {
		return 0, err
	}
	tail = tail[:bytes.LastIndexByte(tail, '\n')+1]
	for line := range bytes.Lines(tail) {
		var e struct{ Stream string }
		switch err := json.Unmarshal(line, &e); {
		case err != nil: // somebody else's: no reason to lose the container
		case e.Stream == "stderr":
			w.pos.skip[Stderr]++
		default:
			w.pos.skip[Stdout]++
		}
	}
	return begin + int64(len(tail)), nil
}

package jsonlog

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"github.com/strakehq/strake/sdk/mishap"
)

// rotate makes room for a new current file when the present one is full. The
// position is stored after it; should the writer die in between, the current
// file is shorter than the position says, which settle takes for a new one.
func (w *Writer) rotate() {
	if !w.over() {
		return
	}
	var err error
	if w.conf.MaxFiles < 2 {
		err = w.file.Truncate(0)
	} else {
		err = w.shift()
	}
	if err != nil {
		w.fail(err)
		return
	}
	mishap.Hit(mishap.ShimRotated)
	w.pos.size = 0
	w.journal.store(w.pos)
}

// shift renames the files, oldest first, and opens a new one.
func (w *Writer) shift() error {
	for i := w.conf.MaxFiles - 1; i > 0; i-- {
		err := os.Rename(w.name(i-1), w.name(i))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := openLog(w.conf.Path)
	if err != nil {
		return err
	}
	old := w.file
	w.file = f
	return old.Close()
}

// name is the path of the i-th file, 0 being the current one.
func (w *Writer) name(i int) string {
	if i == 0 {
		return w.conf.Path
	}
	return w.conf.Path + "." + strconv.Itoa(i)
}

package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// open opens a log's files, oldest first. Those that vanish by rotation
// meanwhile are left out. A log that does not exist yet has none.
func open(path string) (files []*os.File, err error) {
	// One number may be missing, while a rotation moves files up.
	for i, missing := 0, 0; missing < 2; i++ {
		name := path
		if i > 0 {
			name = fmt.Sprintf("%s.%d", path, i)
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		}
		missing = 0
		if err != nil {
			return nil, errors.Join(fmt.Errorf("log %s: %w", name, err), closeAll(files))
		}
		if sameAsFirst(files, f) { // rotated between two opens
			if err := f.Close(); err != nil {
				return nil, errors.Join(err, closeAll(files))
			}
			continue
		}
		files = append([]*os.File{f}, files...)
	}
	return files, nil
}

// sameAsFirst says whether f is the file opened last.
func sameAsFirst(files []*os.File, f *os.File) bool {
	if len(files) == 0 {
		return false
	}
	a, errA := files[0].Stat()
	b, errB := f.Stat()
	return errA == nil && errB == nil && os.SameFile(a, b)
}

func closeAll(files []*os.File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// block is how much is read at once when looking for line ends backwards.
const block = 64 << 10

// seekTail positions the files so that reading on from the first one returned
// yields the last n lines. Reading is backwards, so it costs what the tail
// costs, not the log. Files that are not needed are closed.
func seekTail(files []*os.File, n int) ([]*os.File, error) {
	for i := len(files) - 1; i >= 0; i-- {
		offset, found, err := tailOffset(files[i], n)
		if err != nil {
			return files, err
		}
		if n -= found; n > 0 {
			continue
		}
		if _, err := files[i].Seek(offset, io.SeekStart); err != nil {
			return files, fmt.Errorf("log %s: %w", files[i].Name(), err)
		}
		return files[i:], closeAll(files[:i])
	}
	return files, nil
}

// tailOffset finds where the last n lines of a file begin. When it has fewer,
// found is their number and offset 0. The position of f stays at its start.
func tailOffset(f *os.File, n int) (offset int64, found int, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, fmt.Errorf("log %s: %w", f.Name(), err)
	}
	if n == 0 {
		return end, 0, nil
	}
	buf := make([]byte, block)
	for pos := end; pos > 0; {
		size := min(int64(block), pos)
		pos -= size
		if _, err := f.ReadAt(buf[:size], pos); err != nil {
			return 0, 0, fmt.Errorf("log %s: read: %w", f.Name(), err)
		}
		for at := size; ; {
			i := int64(bytes.LastIndexByte(buf[:at], '\n'))
			if i < 0 {
				break
			}
			at = i
			if pos+i == end-1 {
				continue // the end of the last line
			}
			if found++; found == n {
				return pos + i + 1, found, nil
			}
		}
	}
	if end > 0 {
		found++
	}
	_, err = f.Seek(0, io.SeekStart)
	return 0, found, err
}

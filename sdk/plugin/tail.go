package plugin

import (
	"io"
	"os"
	"strings"
	"sync"
)

// Bounds of what an error shows of a log.
const (
	tailBytes = 4 << 10
	tailLines = 10
)

// tail remembers the end of one launch's log, which is in a file or, without
// one, is written to it.
type tail struct {
	path  string
	start int64 // the file's size before the launch

	mu  sync.Mutex
	buf []byte // guarded by mu
}

func newTail(path string) *tail {
	t := &tail{path: path}
	if fi, err := os.Stat(path); path != "" && err == nil {
		t.start = fi.Size()
	}
	return t
}

// Write keeps the last bytes.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - tailBytes; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

// last returns the last lines, empty when there are none.
func (t *tail) last() string {
	if t.path != "" {
		return lastLines(t.read())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return lastLines(string(t.buf))
}

// read returns the end of what was written to the file since the launch. An
// unreadable log is shown as none: the error at hand matters more.
func (t *tail) read() string {
	f, err := os.Open(t.path)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // opened for reading
	fi, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(t.start, fi.Size()-tailBytes)
	b, err := io.ReadAll(io.NewSectionReader(f, from, fi.Size()-from))
	if err != nil {
		return ""
	}
	return string(b)
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

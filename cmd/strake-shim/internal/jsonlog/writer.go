package jsonlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/strakehq/strake/cmd/strake-shim/internal/pages"
	"github.com/strakehq/strake/sdk/mishap"
)

// Stream is one of the two streams that are logged.
type Stream int

// The streams.
const (
	Stdout Stream = iota
	Stderr
)

// flushAt is the size of formatted entries that goes to the file in one write.
// One more entry fits into the buffer, unless it has many attributes; then the
// heap helps out.
const (
	flushAt    = 128 << 10
	bufferSize = flushAt + 6*MaxPiece + 4096
)

// Config describes a log.
type Config struct {
	// Path of the current file; rotated ones get ".1", ".2" and so on.
	Path string
	// MaxSize in bytes of one file before it is rotated; 0: never.
	MaxSize int64
	// MaxFiles counts the current one; below 2, the log is truncated.
	MaxFiles int
	Attrs    map[string]string
	// Journal is a file of the writer's own, best in tmpfs.
	Journal string
}

// Writer writes entries of both streams into one log. Its methods may be
// called concurrently.
type Writer struct {
	conf   Config
	labels [2][]byte // what stands between log and time

	mu      sync.Mutex // guards all below
	file    *os.File
	journal *journal
	pos     position
	buf     *pages.Buffer
	out     []byte // formatted entries, in buf
	stamp   [len(time.RFC3339Nano)]byte
	failed  error // the first error of writing
}

// start is what a writer finds.
type start int

const (
	fresh  start = iota // nothing of its streams
	reread              // streams that can be read again from Taken on
	torn                // streams of which the dead writer took some with it
)

// Open begins a log, appending to what is there.
func Open(c Config) (*Writer, error) { return open(c, fresh) }

// Resume goes on with a log whose writer died. With again, the streams can be
// read again, and must be from Taken on; what is in the log already is then
// left out.
func Resume(c Config, again bool) (*Writer, error) {
	if again {
		return open(c, reread)
	}
	return open(c, torn)
}

func open(c Config, from start) (*Writer, error) {
	w := &Writer{conf: c, buf: pages.New(bufferSize)}
	if err := w.label(); err != nil {
		return nil, err
	}
	var err error
	if w.file, err = openLog(c.Path); err != nil {
		return nil, err
	}
	if w.journal, err = openJournal(c.Journal, from == fresh); err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	w.pos = w.journal.load()
	if err := w.settle(from); err != nil {
		return nil, errors.Join(fmt.Errorf("log %s: take up: %w", c.Path, err), w.file.Close(), w.journal.close())
	}
	return w, nil
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
}

// label prepares the constant part of an entry of each stream.
func (w *Writer) label() error {
	attrs := ""
	if len(w.conf.Attrs) > 0 {
		b, err := json.Marshal(w.conf.Attrs)
		if err != nil {
			return err
		}
		attrs = `"attrs":` + string(b) + ","
	}
	for s, name := range [...]string{"stdout", "stderr"} {
		w.labels[s] = []byte(`,"stream":"` + name + `",` + attrs + `"time":"`)
	}
	return nil
}

// Taken is the number of bytes of a stream that are done with. What follows
// is to be given to Write again.
func (w *Writer) Taken(s Stream) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pos.taken[s]
}

// Write logs the complete entries at the beginning of data and returns how
// many bytes that were; the rest, shorter than 16 KiB, is to be offered again
// with what follows it. With last, the rest is an entry too. It never fails,
// since a full disk must not stop a container: the entries are dropped, and
// Close tells.
func (w *Writer) Write(s Stream, data []byte, last bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamp := time.Now().UTC().AppendFormat(w.stamp[:0], time.RFC3339Nano)
	w.out = w.buf.Get()[:0]
	done, flushed := 0, 0
	for done < len(data) {
		n := cut(data[done:])
		if n == 0 && last {
			n = len(data) - done
		}
		if n == 0 {
			break
		}
		if w.full() {
			w.flush(s, done-flushed)
			flushed = done
			w.rotate()
		}
		w.add(s, data[done:done+n], stamp)
		done += n
	}
	w.flush(s, done-flushed)
	return done
}

func (w *Writer) add(s Stream, entry, stamp []byte) {
	if w.pos.skip[s] > 0 {
		w.pos.skip[s]--
		return
	}
	w.out = append(w.out, `{"log":`...)
	w.out = appendString(w.out, entry)
	w.out = append(w.out, w.labels[s]...)
	w.out = append(w.out, stamp...)
	w.out = append(w.out, "\"}\n"...)
}

// full reports whether entries must be flushed before the next one.
func (w *Writer) full() bool { return len(w.out) >= flushAt || w.over() }

// over reports whether the next entry belongs to a new file.
func (w *Writer) over() bool {
	return w.conf.MaxSize > 0 && w.pos.size+int64(len(w.out)) >= w.conf.MaxSize
}

// flush writes the formatted entries, made of taken bytes of the stream, and
// notes the new position.
func (w *Writer) flush(s Stream, taken int) {
	if n, err := w.file.Write(w.out); err != nil {
		w.fail(err)
		if n > 0 { // leave no torn line
			w.fail(w.file.Truncate(w.pos.size))
		}
	} else {
		w.pos.size += int64(n)
	}
	mishap.Hit(mishap.ShimLogWritten)
	w.pos.taken[s] += int64(taken)
	w.out = w.buf.Get()[:0]
	w.journal.store(w.pos)
	mishap.Hit(mishap.ShimLogNoted)
}

func (w *Writer) fail(err error) {
	if w.failed == nil {
		w.failed = err
	}
}

// Relax gives memory back until the next Write.
func (w *Writer) Relax() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.buf.Relax(0); err != nil {
		w.fail(err)
	}
}

// Close closes the file. The error is the first that Write met, or one of
// closing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.failed, w.file.Close(), w.journal.close(), w.buf.Free())
}

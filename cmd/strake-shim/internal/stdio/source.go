package stdio

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/jsonlog"
	"github.com/strakehq/strake/cmd/strake-shim/internal/pages"
)

// chunk is the most that is read at once, and the size of pipes.
const chunk = 256 << 10

// source yields a stream's bytes, and keeps those that are not yet released.
// next and release are for one goroutine; relax and finish for any.
type source interface {
	// next waits for more. data holds all bytes that are not released, the
	// last fresh of which are new. At the end err is io.EOF, with the data
	// that is left. data is valid until the next call.
	next() (data []byte, fresh int, err error)
	release(n int)
	// relax gives up buffers while nothing is read.
	relax()
	// finish ends the stream at the latest after grace, with all that was
	// written until then.
	finish(grace time.Duration)
	close() error
}

// tap reads from a descriptor on the poller, and knows how to stop.
type tap struct {
	f    *os.File
	last atomic.Bool // take what is there and do not wait
}

// read calls op until it yields something. 0 bytes are the end.
func (t *tap) read(op func(fd int) (int, error)) (int, error) {
	rc, err := t.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	for {
		var n int
		var operr error
		err := rc.Read(func(fd uintptr) bool {
			for {
				if n, operr = op(int(fd)); !errors.Is(operr, unix.EINTR) {
					break
				}
			}
			return !errors.Is(operr, unix.EAGAIN) || t.last.Load()
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.last.Store(true)
			if err := t.f.SetReadDeadline(time.Time{}); err != nil {
				return 0, err
			}
		case err != nil:
			return 0, err
		case errors.Is(operr, unix.EAGAIN) || errors.Is(operr, unix.EIO): // done; pty without a slave
			return 0, nil
		default:
			return max(n, 0), operr
		}
	}
}

func (t *tap) finish(grace time.Duration) {
	if err := t.f.SetReadDeadline(after(grace)); err != nil {
		t.last.Store(true) // closed already
	}
}

// window is a buffer for what is read and not yet released. It may be relaxed
// only while its owner waits.
type window struct {
	*pages.Buffer
	mu   sync.Mutex
	busy bool // guarded by mu: somebody uses the bytes
}

func newWindow() *window { return &window{Buffer: pages.New(chunk + jsonlog.MaxPiece)} }

// use and rest bracket the use of the bytes.
func (w *window) use() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = true
	return w.Get()
}

func (w *window) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
}

// relax gives back all but the first keep bytes, unless they are in use.
func (w *window) relax(keep int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy {
		return
	}
	if err := w.Relax(keep); err != nil {
		note("give memory back: %v", err)
	}
}

// plain is a source whose bytes are in memory only: a pty, or a FIFO whose
// output is not logged.
type plain struct {
	tap
	win  *window
	held atomic.Int64 // bytes at the window's beginning that are not released
}

func newPlain(f *os.File) *plain { return &plain{tap: tap{f: f}, win: newWindow()} }

func (p *plain) next() ([]byte, int, error) {
	held := int(p.held.Load())
	n, err := p.read(func(fd int) (int, error) {
		buf := p.win.use()
		n, err := unix.Read(fd, buf[held:held+chunk])
		if err != nil {
			p.win.rest()
		}
		return n, err
	})
	p.held.Add(int64(n))
	if n == 0 && err == nil {
		err = io.EOF
	}
	return p.win.use()[:held+n], n, err
}

func (p *plain) release(n int) {
	held := int(p.held.Load())
	buf := p.win.use()
	copy(buf[:held-n], buf[n:held])
	p.held.Add(-int64(n))
	p.win.rest()
}

func (p *plain) relax() { p.win.relax(int(p.held.Load())) }

func (p *plain) close() error { return errors.Join(p.f.Close(), p.win.Free()) }

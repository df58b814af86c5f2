package stdio

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is the most that is read at once.
const chunk = 64 << 10

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
				if n, operr = op(int(fd)); operr != unix.EINTR {
					break
				}
			}
			return operr != unix.EAGAIN || t.last.Load()
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.last.Store(true)
			if err := t.f.SetReadDeadline(time.Time{}); err != nil {
				return 0, err
			}
		case err != nil:
			return 0, err
		case operr == unix.EAGAIN || operr == unix.EIO: // done; pty without a slave
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

// plain is a source whose bytes are in memory only: a pty, or a FIFO whose
// output is not logged.
type plain struct {
	tap
	mu   sync.Mutex // guards buf against relax
	buf  []byte
	held int // bytes at the beginning of buf that are not released
}

func newPlain(f *os.File) *plain { return &plain{tap: tap{f: f}} }

func (p *plain) next() ([]byte, int, error) {
	n, err := p.tap.read(func(fd int) (int, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if cap(p.buf)-p.held < 512 {
			p.buf = append(make([]byte, 0, max(4096, 2*cap(p.buf))), p.buf[:p.held]...)
		}
		return unix.Read(fd, p.buf[p.held:cap(p.buf)])
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := p.buf[:p.held+n]
	if n == cap(p.buf)-p.held && cap(p.buf) < chunk { // more at once next time
		p.buf = append(make([]byte, 0, 2*cap(p.buf)), fresh...)
	}
	p.held += n
	if n == 0 && err == nil {
		err = io.EOF
	}
	return fresh, n, err
}

func (p *plain) release(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	copy(p.buf[:p.held-n], p.buf[n:p.held])
	p.held -= n
}

func (p *plain) relax() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = append([]byte(nil), p.buf[:p.held]...)
}

func (p *plain) close() error { return p.f.Close() }

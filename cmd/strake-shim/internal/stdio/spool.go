package stdio

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// punchAt is the number of bytes at the beginning of a spool that are given
// back to the file system at once.
const punchAt = 256 << 10

// spool is a source that survives its reader. Bytes move from the FIFO to the
// end of a file within one system call, so a reader that is killed has either
// taken them and left them in the file, or not taken them; with read they could
// die in its memory. The file's size is the number of bytes that ever came; its
// beginning is a hole.
type spool struct {
	tap
	file               *os.File
	size, taken, freed int64
	behind             bool // there are bytes of a former reader

	mu  sync.Mutex // guards buf against relax
	buf []byte
}

// newSpool goes on with the bytes from taken on.
func newSpool(fifo *os.File, path string, taken int64) (*spool, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s := &spool{tap: tap{f: fifo}, file: f, size: info.Size(), taken: taken}
	s.behind = s.size > taken
	return s, nil
}

func (s *spool) next() ([]byte, int, error) {
	n := int(s.size - s.taken)
	var err error
	if !s.behind {
		if n, err = s.fill(); err != nil {
			return nil, 0, err
		}
	}
	end := n == 0
	s.behind = false
	data, err := s.load()
	if err == nil && end {
		err = io.EOF
	}
	return data, n, err
}

// fill moves what the FIFO holds to the file.
func (s *spool) fill() (int, error) {
	n, err := s.tap.read(func(fd int) (int, error) {
		at := s.size
		n, err := unix.Splice(fd, nil, int(s.file.Fd()), &at, chunk, unix.SPLICE_F_NONBLOCK)
		return int(n), err
	})
	s.size += int64(n)
	return n, err
}

// load reads all that is not released.
func (s *spool) load() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int(s.size - s.taken)
	if cap(s.buf) < n {
		s.buf = make([]byte, max(4096, n))
	}
	data := s.buf[:n]
	_, err := s.file.ReadAt(data, s.taken)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return data, err
}

func (s *spool) release(n int) {
	s.taken += int64(n)
	if whole := s.taken &^ 4095; whole-s.freed >= punchAt {
		// Without holes the file merely grows; it goes with the container.
		if unix.Fallocate(int(s.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.freed, whole-s.freed) == nil {
			s.freed = whole
		}
	}
}

func (s *spool) relax() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = nil
}

func (s *spool) close() error { return errors.Join(s.f.Close(), s.file.Close()) }

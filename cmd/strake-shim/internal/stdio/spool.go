package stdio

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// punchAt is the number of bytes at the beginning of a spool that are given
// back to the file system at once.
const punchAt = 1 << 20

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
	win                *window
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
	s := &spool{tap: tap{f: fifo}, file: f, size: info.Size(), taken: taken, win: newWindow()}
	s.behind = s.size > taken
	return s, nil
}

func (s *spool) next() ([]byte, int, error) {
	s.win.rest()
	n := int(min(s.size-s.taken, chunk))
	var err error
	if !s.behind {
		if n, err = s.fill(); err != nil {
			return nil, 0, err
		}
	}
	end := n == 0 && !s.behind
	data, err := s.load()
	s.behind = s.behind && s.taken+int64(len(data)) < s.size
	if err == nil && end {
		err = io.EOF
	}
	return data, n, err
}

// fill moves what the FIFO holds to the file.
func (s *spool) fill() (int, error) {
	n, err := s.read(func(fd int) (int, error) {
		at := s.size
		n, err := unix.Splice(fd, nil, int(s.file.Fd()), &at, chunk, unix.SPLICE_F_NONBLOCK)
		return int(n), err
	})
	s.size += int64(n)
	return n, err
}

// load reads what is not released. That is more than the window holds only
// after a former reader.
func (s *spool) load() ([]byte, error) {
	buf := s.win.use()
	n, err := s.file.ReadAt(buf[:min(s.size-s.taken, int64(len(buf)))], s.taken)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return buf[:n], err
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

func (s *spool) relax() { s.win.relax(0) }

func (s *spool) close() error { return errors.Join(s.f.Close(), s.file.Close(), s.win.Free()) }

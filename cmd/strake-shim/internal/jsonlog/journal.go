package jsonlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const journalSize = 4096

// position says how far the log is. The first taken bytes of each stream, and
// the next skip entries after them, are within the first size bytes of the log
// or in a rotated file; nothing else is.
type position struct {
	size  int64
	taken [2]int64
	skip  [2]int64
}

// journal keeps a position in a file mapped into memory. A process's death
// cannot tear it: the two slots take turns, and one store of a word switches
// from one to the other. It costs no system call, and no disk write where the
// file is in tmpfs; it need not survive the machine.
type journal struct{ mem []byte }

// openJournal maps the file; with fresh it starts from nothing.
func openJournal(path string, fresh bool) (*journal, error) {
	flags := os.O_CREATE | os.O_RDWR
	if fresh {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	mem, err := mapFile(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("journal %s: map: %w", path, err)
	}
	return &journal{mem: mem}, nil
}

func mapFile(f *os.File) ([]byte, error) {
	if err := f.Truncate(journalSize); err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, journalSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// turn is the word that says which slot counts.
func (j *journal) turn() *uint64 { return (*uint64)(unsafe.Pointer(&j.mem[0])) }

func (j *journal) slot(i uint64) []byte { return j.mem[64*(1+i&1):] }

func (j *journal) load() position {
	s := j.slot(atomic.LoadUint64(j.turn()))
	word := func(i int) int64 { return int64(binary.NativeEndian.Uint64(s[8*i:])) }
	return position{size: word(0), taken: [2]int64{word(1), word(2)}, skip: [2]int64{word(3), word(4)}}
}

func (j *journal) store(p position) {
	next := atomic.LoadUint64(j.turn()) + 1
	s := j.slot(next)
	for i, v := range [...]int64{p.size, p.taken[0], p.taken[1], p.skip[0], p.skip[1]} {
		binary.NativeEndian.PutUint64(s[8*i:], uint64(v))
	}
	atomic.StoreUint64(j.turn(), next)
}

func (j *journal) close() error { return unix.Munmap(j.mem) }

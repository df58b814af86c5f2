package store

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// reserveSize has room for the pages of many removals.
const reserveSize = 1 << 20

// reserve is a file that is there to be given up: on a disk that is full, space
// is made by removing things, and to record that takes some.
type reserve struct {
	path string

	mu   sync.Mutex
	have bool // guarded by mu
}

// fill makes the file unless it is there. Without space for it there is none; it
// is tried again after the next transaction.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have {
		return
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, reserveSize), f.Close()); err != nil {
		_ = os.Remove(r.path) // it may be there in part
		return
	}
	r.have = true
}

// spend gives the space up; false when there was none.
func (r *reserve) spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.have {
		return false
	}
	r.have = false
	return os.Remove(r.path) == nil
}

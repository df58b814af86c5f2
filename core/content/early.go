package content

import (
	"errors"
	"sync"
	"sync/atomic"
)

// earlyEvery is how much is written before the disk is set to work on it: a
// tenth of a second of a common disk's.
const earlyEvery = 32 << 20

// early has the disk busy while a pull is still decompressing, so that Flush
// finds little left to wait for.
type early struct {
	dirty  atomic.Int64
	mu     sync.Mutex // held while there is writing out
	failed error      // guarded by mu; the kernel tells of it once
}

// Dirtied says that n bytes are on their way to the store's file system, in
// blobs or beside them. Now and then it has the kernel write out what there is,
// and does not wait for that.
func (s *Store) Dirtied(n int) {
	e := &s.early
	if e.dirty.Add(int64(n)) < earlyEvery || !e.mu.TryLock() {
		return
	}
	e.dirty.Store(0)
	go func() {
		defer e.mu.Unlock()
		e.failed = errors.Join(e.failed, s.syncfs())
	}()
}

// earlyError waits for the writing out that is under way, and says what it came
// to since this was asked last.
func (s *Store) earlyError() error {
	e := &s.early
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.failed
	e.failed = nil
	return err
}

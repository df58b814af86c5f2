package content

import "sync/atomic"

// earlyEvery is how much is written before the disk is set to work on it: a
// tenth of a second of a common disk's.
const earlyEvery = 32 << 20

// early has the disk busy while a pull is still decompressing, so that Flush
// finds little left to wait for.
type early struct {
	dirty   atomic.Int64
	running atomic.Bool
	failed  atomic.Pointer[error] // the kernel tells of it once
}

// Dirtied says that n bytes are on their way to the store's file system, in
// blobs or beside them. Now and then it has the kernel write out what there is,
// and does not wait for that.
func (s *Store) Dirtied(n int) {
	e := &s.early
	if e.dirty.Add(int64(n)) < earlyEvery || !e.running.CompareAndSwap(false, true) {
		return
	}
	e.dirty.Store(0)
	go func() {
		defer e.running.Store(false)
		if err := s.syncfs(); err != nil {
			e.failed.Store(&err)
		}
	}()
}

// earlyError is what writing out early came to, since it was asked last.
func (s *Store) earlyError() error {
	if err := s.early.failed.Swap(nil); err != nil {
		return *err
	}
	return nil
}

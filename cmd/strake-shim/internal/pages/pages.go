// Package pages gives buffers outside Go's heap. A shim's heap stays so small
// that it is never collected in most lives, which matters since the first
// collection alone costs half a megabyte of bookkeeping; and what a buffer
// does not touch costs nothing, however large it is.
package pages

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Buffer is memory of a fixed size. Get may be called by one goroutine, Relax
// and Free by others.
type Buffer struct {
	size int

	mu  sync.Mutex // guards mem
	mem []byte
}

// New returns a buffer of which nothing is allocated yet.
func New(size int) *Buffer { return &Buffer{size: size} }

// Get returns the memory, all of it. Where the kernel has none to map, it is
// from the heap.
func (b *Buffer) Get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mem == nil {
		m, err := unix.Mmap(-1, 0, b.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return make([]byte, b.size)
		}
		b.mem = m
	}
	return b.mem
}

// Relax gives the memory beyond the first keep bytes back to the kernel; its
// content is lost.
func (b *Buffer) Relax(keep int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	page := os.Getpagesize()
	keep = (keep + page - 1) / page * page
	if keep >= len(b.mem) {
		return nil
	}
	return unix.Madvise(b.mem[keep:], unix.MADV_DONTNEED)
}

// Free gives all memory back. Nobody may use it any more.
func (b *Buffer) Free() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mem == nil {
		return nil
	}
	m := b.mem
	b.mem = nil
	return unix.Munmap(m)
}

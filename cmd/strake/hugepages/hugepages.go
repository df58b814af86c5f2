// Package hugepages gives the heap of a short-lived program huge pages. Import it
// for its effect.
//
// A Go program touches a few hundred pages of fresh heap before it does
// anything, and most of what `strake version` takes is the faults for them. Two
// huge pages are two faults. A program that lives long is better off without:
// it would hold the megabytes that it does not use.
package hugepages

import (
	"syscall"
	"unsafe"
)

// chunk is by how much the runtime's heap grows, aligned to as much.
const chunk = 4 << 20

// page is the size of a huge one. Where it is another, nothing happens.
const page = 2 << 20

const (
	madvHugePage = 14
	madvCollapse = 25 // since Linux 6.1
)

var first = new([64]byte)

// This package needs nothing but syscall, and so is initialized before those
// that allocate. Errors do not matter: a kernel without huge pages gives small
// ones.
func init() {
	here := uintptr(unsafe.Pointer(first))
	// For the pages that are not touched yet, then for those that are.
	syscall.RawSyscall(syscall.SYS_MADVISE, here&^(chunk-1), chunk, madvHugePage)
	syscall.RawSyscall(syscall.SYS_MADVISE, here&^(page-1), page, madvCollapse)
}

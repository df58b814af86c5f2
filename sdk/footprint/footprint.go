// Package footprint has a program hold less memory while it has nothing to do.
//
// The Go runtime keeps for itself what a burst of work needed, and what a program
// has run once stays mapped: its start, its configuration. Both are let go when
// the program rests. The heap's free pages go back to the kernel at once. Pages of
// the program's file no longer count as its memory and are the first that the
// kernel takes when it is short, but remain in the page cache until then: what is
// run again is mapped again, at a fault for each 64 KiB.
package footprint

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Rest lets go of a program's pages whenever it has rested. Its methods may be
// called by any goroutine.
type Rest struct {
	timer *time.Timer
	after time.Duration
}

// NewRest lets go first when start is over, and then whenever the last Stir is
// as long ago as after.
func NewRest(start, after time.Duration) *Rest {
	return newRest(start, after, func() {
		debug.FreeOSMemory()
		_ = Release() // a kernel that refuses leaves everything as it was
	})
}

func newRest(start, after time.Duration, release func()) *Rest {
	time.AfterFunc(start, release)
	return &Rest{time.AfterFunc(after, release), after}
}

// Stir notes that the program has something to do.
func (r *Rest) Stir() { r.timer.Reset(r.after) }

// Release lets go of the pages of the program's own file that are mapped and
// cannot be written: instructions and constants. A breakpoint that a debugger
// has set there goes with them.
func Release() error {
	ranges, err := programRanges()
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("let go of the program's pages at %x: %w", r.start, errno)
		}
	}
	return nil
}

type addresses struct{ start, end uintptr }

// programRanges are the mappings of the program's file that it cannot write.
func programRanges() (found []addresses, err error) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	s := bufio.NewScanner(f)
	for s.Scan() {
		// start-end perms offset device inode path, the path padded with spaces
		fields := bytes.SplitN(s.Bytes(), []byte{' '}, 6)
		if len(fields) < 6 || bytes.IndexByte(fields[1], 'w') >= 0 || string(bytes.TrimLeft(fields[5], " ")) != exe {
			continue
		}
		low, high, _ := bytes.Cut(fields[0], []byte{'-'})
		start, err := strconv.ParseUint(string(low), 16, 64)
		if err != nil {
			return nil, err
		}
		end, err := strconv.ParseUint(string(high), 16, 64)
		if err != nil {
			return nil, err
		}
		found = append(found, addresses{uintptr(start), uintptr(end)})
	}
	return found, s.Err()
}

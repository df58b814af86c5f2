package stdio

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pace tells a stream of small pieces that come one after the other, such as the
// access log of a busy server. To take each by itself costs more than the
// process needs to write it: two changes of context and a write to the log.
type pace struct{ quick int }

const (
	// quickly is how long one waits for the next piece of a busy stream.
	quickly = 200 * time.Microsecond
	// settled is after how many such pieces it counts as busy.
	settled = 16
	// gatherFor is how late the pieces of a busy stream may be.
	gatherFor = time.Millisecond
)

func (p *pace) note(waited time.Duration, fresh int) {
	if waited > quickly || fresh == 0 || fresh > smallRead {
		p.quick = 0
		return
	}
	p.quick = min(p.quick+1, settled)
}

// gather waits for more pieces of a busy stream. The shim's only processor sleeps
// with it: else another thread would wait for the poller, which tells of each
// piece.
func (p *pace) gather() {
	if p.quick < settled {
		return
	}
	t := unix.NsecToTimespec(gatherFor.Nanoseconds())
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0) //nolint:errcheck // less does no harm
	runtime.Gosched()
}

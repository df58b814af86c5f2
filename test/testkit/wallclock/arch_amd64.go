package wallclock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const auditArch = unix.AUDIT_ARCH_X86_64

// legacyCalls read the clock as well.
var legacyCalls = []uint32{unix.SYS_TIME}

// stack is a stopped process's stack pointer, or 0 for a 32-bit one, whose calls
// the filter does not see.
func stack(pid int) (uint64, error) {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &r); err != nil {
		return 0, fmt.Errorf("registers of %d: %w", pid, err)
	}
	const userCode64 = 0x33
	if r.Cs != userCode64 {
		return 0, nil
	}
	return r.Rsp, nil
}

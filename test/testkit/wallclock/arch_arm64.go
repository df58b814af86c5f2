package wallclock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const auditArch = unix.AUDIT_ARCH_AARCH64

// legacyCalls read the clock as well; this architecture has none.
var legacyCalls []uint32

// stack is a stopped process's stack pointer.
func stack(pid int) (uint64, error) {
	var r unix.PtraceRegsArm64
	// The first register set of an ELF note, NT_PRSTATUS.
	if err := unix.PtraceGetRegSetArm64(pid, 1, &r); err != nil {
		return 0, fmt.Errorf("registers of %d: %w", pid, err)
	}
	return r.Sp, nil
}

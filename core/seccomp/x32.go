package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// exitsByX32 is the status of the program that KernelHasX32 runs.
const exitsByX32 = 42

// KernelHasX32 says whether the kernel runs programs of the x32 ABI, which most
// are built or told not to. It runs one, since to try a call of that ABI in this
// process could be the end of it, where a filter surrounds it. When in doubt it
// says yes.
func KernelHasX32() bool {
	if runtime.GOARCH != "amd64" {
		return false
	}
	program, err := x32File()
	if err != nil {
		return true
	}
	defer program.Close() //nolint:errcheck // memory
	err = exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd())).Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode() == exitsByX32
	}
	return !errors.Is(err, syscall.ENOEXEC)
}

// x32File is a file in memory with the program.
func x32File() (*os.File, error) {
	// What is open for writing somewhere cannot be executed: no other program
	// is to be started with the descriptor.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.MemfdCreate("x32", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	w := os.NewFile(uintptr(fd), "x32") //nolint:gosec // a descriptor
	defer w.Close()                     //nolint:errcheck // memory
	if _, err := w.Write(x32Program()); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// x32Program is an ELF file of 32 bits for x86-64 that exits by x32's number.
func x32Program() []byte {
	const base, headers = 0x08048000, 52 + 32
	code := []byte{
		0xb8, 0x3c, 0x00, 0x00, 0x40, // mov $__X32_SYSCALL_BIT|__NR_exit, %eax
		0xbf, exitsByX32, 0x00, 0x00, 0x00, // mov $42, %edi
		0x0f, 0x05, // syscall
		0x0f, 0x0b, // ud2
	}
	size := uint32(headers + len(code)) //nolint:gosec // small
	b := []byte{0x7f, 'E', 'L', 'F', 1, 1, 1, 15: 0}
	for _, h := range []uint16{2 /* ET_EXEC */, 62 /* EM_X86_64 */} {
		b = binary.LittleEndian.AppendUint16(b, h)
	}
	for _, w := range []uint32{1, base + headers, 52 /* program header */, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	for _, h := range []uint16{52, 32, 1, 40, 0, 0} {
		b = binary.LittleEndian.AppendUint16(b, h)
	}
	for _, w := range []uint32{1 /* PT_LOAD */, 0, base, base, size, size, 5 /* r-x */, 0x1000} {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return append(b, code...)
}

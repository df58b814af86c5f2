package wallclock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filter hands to the supervisor what reads the clock of the day and what
// executes programs. All else goes on as it was.
func filter() ([]bpf.RawInstruction, error) {
	const nr, arch, firstArg = 0, 4, 16 // in struct seccomp_data; the argument's lower half
	notify, allow := bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: arch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		allow,
		bpf.LoadAbsolute{Off: nr, Size: 4},
	}
	for _, call := range append([]uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_GETTIMEOFDAY}, legacyCalls...) {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: 1}, notify)
	}
	prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_CLOCK_GETTIME, SkipTrue: 1}, allow,
		bpf.LoadAbsolute{Off: firstArg, Size: 4})
	for _, clock := range []uint32{unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_COARSE} {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: clock, SkipTrue: 1}, notify)
	}
	return bpf.Assemble(append(prog, allow))
}

// install puts the filter on this thread and returns the descriptor that its
// calls are answered by.
func install() (listener int, err error) {
	raw, err := filter()
	if err != nil {
		return -1, err
	}
	prog := unix.SockFprog{Len: uint16(len(raw)), Filter: (*unix.SockFilter)(unsafe.Pointer(&raw[0]))}
	// Signals wait while a call is being answered: Go looks at no error of
	// clock_gettime.
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, fmt.Errorf("seccomp: %w", errno)
	}
	return int(fd), nil
}

// launch puts this thread under the supervisor at socket and executes a program
// in place of this one.
func launch(socket string, command []string) error {
	if len(command) == 0 {
		return errors.New("no program to launch")
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // exec keeps this thread's filter and no other thread
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: socket})
	if err != nil {
		return err
	}
	f, err := conn.File() // a socket of its own that blocks: a poller would be another thread's
	if err != nil {
		return err
	}
	s := int(f.Fd())
	listener, err := install()
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(s, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return fmt.Errorf("hand over the listener: %w", err)
	}
	if _, err := unix.Read(s, make([]byte, 1)); err != nil {
		return fmt.Errorf("await the supervisor: %w", err)
	}
	return unix.Exec(path, command, os.Environ())
}

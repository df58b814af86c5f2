package wallclock

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif, response struct seccomp_notif_resp.
type notification struct {
	id    uint64
	pid   uint32 // of the thread
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// supervisor answers the filters of all programs that were launched.
type supervisor struct {
	offset atomic.Int64 // nanoseconds
	execs  chan execution
}

// execution is an exec that waits to be let through.
type execution struct {
	listener int
	n        notification
}

// serve is the supervisor's life: until in ends. Its lines are "offset N", in
// nanoseconds, and "ready"; each is answered by "ok" once it is done.
func serve(socket string, in io.Reader, out io.Writer) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socket})
	if err != nil {
		return err
	}
	s := &supervisor{execs: make(chan execution, 64)}
	go s.letThrough()
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return // the listener is closed
			}
			if err := s.adopt(conn); err != nil {
				fmt.Fprintln(os.Stderr, "wallclock: adopt:", err)
			}
		}
	}()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), "offset "); ok {
			v, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				return err
			}
			s.offset.Store(v)
		}
		if _, err := io.WriteString(out, "ok\n"); err != nil {
			return err
		}
	}
	return errors.Join(lines.Err(), l.Close())
}

// adopt takes over the listener of a program that is about to be executed.
func (s *supervisor) adopt(conn *net.UnixConn) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("%d control messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	// Two, so that one process's exec does not keep others from the time.
	for range 2 {
		go s.answer(fds[0])
	}
	_, err = conn.Write(b)
	return err
}

// answer answers until nobody is left under the filter. The descriptor is left
// open: another goroutine uses it, and the supervisor does not live long.
func (s *supervisor) answer(listener int) {
	for {
		// Nobody being left is told by a poll alone.
		p := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == nil && p[0].Revents&unix.POLLIN == 0 {
			return
		}
		var n notification
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n)))
		switch errno {
		case 0:
		case unix.EINTR, unix.ENOENT: // the caller was killed meanwhile
			continue
		default:
			return
		}
		if n.nr == unix.SYS_EXECVE || n.nr == unix.SYS_EXECVEAT {
			s.execs <- execution{listener, n}
			continue
		}
		r := response{id: n.id}
		r.val, r.err = s.read(&n)
		send(listener, &r)
	}
}

// send responds, unless the caller was killed meanwhile.
func send(listener int, r *response) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(r)))
	if errno != 0 && errno != unix.ENOENT {
		fmt.Fprintln(os.Stderr, "wallclock: respond:", errno)
	}
}

// read does a call's work: it returns its value, or a negative error.
func (s *supervisor) read(n *notification) (val int64, negErrno int32) {
	now := time.Now().Add(time.Duration(s.offset.Load()))
	sec, nsec := now.Unix(), int64(now.Nanosecond())
	var err error
	switch n.nr {
	case unix.SYS_CLOCK_GETTIME:
		err = poke(int(n.pid), n.args[1], sec, nsec)
	case unix.SYS_GETTIMEOFDAY:
		if n.args[0] != 0 {
			err = poke(int(n.pid), n.args[0], sec, nsec/1000)
		}
		if n.args[1] != 0 && err == nil { // the time zone: two int32, none
			err = poke(int(n.pid), n.args[1], 0)
		}
	default: // time
		if val = sec; n.args[0] != 0 {
			err = poke(int(n.pid), n.args[0], sec)
		}
	}
	if err != nil {
		return 0, -int32(unix.EFAULT)
	}
	return val, 0
}

// poke writes words into a process's memory.
func poke(pid int, address uint64, words ...int64) error {
	var b []byte
	for _, w := range words {
		b = binary.NativeEndian.AppendUint64(b, uint64(w))
	}
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	n, err := unix.ProcessVMWritev(pid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(b)}}, 0)
	if err == nil && n != len(b) {
		err = unix.EFAULT
	}
	return err
}

// pace is how often processes are looked after that are in an exec.
const pace = 50 * time.Microsecond

// letThrough lets execs through and, when one succeeds, strikes the vDSO from the
// new program's auxiliary vector before that runs. All ptrace requests of a
// process must come from one thread.
func (s *supervisor) letThrough() {
	runtime.LockOSThread()
	seized := map[int]bool{}
	for e := range s.execs {
		seize(e, seized)
		for len(seized) > 0 {
			select {
			case e := <-s.execs: // maybe of one that is seized: its last exec has failed
				seize(e, seized)
			default:
			}
			if !reap(seized) {
				time.Sleep(pace)
			}
		}
	}
}

// seize lets an exec through so that the process stops soon: in the exec if that
// succeeds, otherwise when it returns or, at the latest, in a later one.
func seize(e execution, seized map[int]bool) {
	pid := int(e.n.pid)
	if seized[pid] {
		e.goOn()
		return
	}
	// Seized, a process is not stopped, so it goes on waiting for the answer.
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, unix.PTRACE_O_TRACEEXEC, 0, 0)
	e.goOn()
	if errno != 0 {
		if errno != unix.ESRCH && errno != unix.EPERM { // it was killed
			complain("seize", pid, errno)
		}
		return
	}
	seized[pid] = true
	// If another thread than the first one calls, there is none of its id any more
	// when it has succeeded.
	if err := unix.PtraceInterrupt(pid); err != nil && !errors.Is(err, unix.ESRCH) {
		complain("interrupt", pid, err)
	}
}

func (e execution) goOn() {
	send(e.listener, &response{id: e.n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

func complain(doing string, pid int, err error) {
	fmt.Fprintf(os.Stderr, "wallclock: %s %d: %v\n", doing, pid, err)
}

// reap looks after one process that has stopped or ended, if there is one.
func reap(seized map[int]bool) bool {
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOHANG, nil)
	switch {
	case errors.Is(err, unix.ECHILD):
		clear(seized) // they were killed
		return true
	case err != nil || pid == 0:
		return false
	}
	delete(seized, pid)
	if !status.Stopped() {
		return true
	}
	if former, err := unix.PtraceGetEventMsg(pid); err == nil && uint32(status)>>16 == unix.PTRACE_EVENT_EXEC {
		delete(seized, int(former))
	}
	if err := release(pid, status); err != nil {
		complain("release", pid, err)
	}
	return true
}

// release ends the tracing of a stopped process.
func release(pid int, status unix.WaitStatus) (err error) {
	sig := status.StopSignal()
	switch uint32(status) >> 16 {
	case unix.PTRACE_EVENT_EXEC:
		err, sig = strike(pid), 0
	case unix.PTRACE_EVENT_STOP:
		sig = 0
	}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, uintptr(sig), 0, 0)
	if errno != 0 && errno != unix.ESRCH {
		err = errors.Join(err, fmt.Errorf("detach %d: %w", pid, errno))
	}
	return err
}

// Types of entries of the auxiliary vector.
const (
	atNull        = 0
	atIgnore      = 1
	atSysinfoEhdr = 33
)

// strike removes the vDSO from the auxiliary vector of a process that has been
// executed and has not run yet: its stack begins with the arguments, which the
// environment and the vector follow.
func strike(pid int) error {
	sp, err := stack(pid)
	if err != nil || sp == 0 {
		return err
	}
	words, err := peek(pid, sp)
	if err != nil {
		return err
	}
	at := 1
	for range 2 { // the arguments and the environment each end with a null
		for at < len(words) && words[at] != 0 {
			at++
		}
		at++
	}
	for ; at+1 < len(words) && words[at] != atNull; at += 2 {
		if words[at] == atSysinfoEhdr {
			return poke(pid, sp+8*uint64(at), atIgnore)
		}
	}
	if at+1 >= len(words) {
		return fmt.Errorf("process %d: no auxiliary vector in %d words", pid, len(words))
	}
	return nil // there is no vDSO
}

// peek reads from an address to the end of the stack, as words, a mebibyte at
// most.
func peek(pid int, address uint64) ([]uint64, error) {
	b := make([]byte, 1<<20)
	var remote []unix.RemoteIovec
	for at := address; at < address+uint64(len(b)); { // what is beyond the end ends the reading, not fails it
		page := min(4096-at%4096, address+uint64(len(b))-at)
		remote = append(remote, unix.RemoteIovec{Base: uintptr(at), Len: int(page)})
		at += page
	}
	n, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}, remote, 0)
	if err != nil {
		return nil, fmt.Errorf("read the stack of %d: %w", pid, err)
	}
	words := make([]uint64, n/8)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	return words, nil
}

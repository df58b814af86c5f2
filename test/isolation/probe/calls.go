package main

import (
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// lastCall is beyond the last number of any profile.
	lastCall = 480
	// patience bounds a call that waits: it was allowed.
	patience = 2 * time.Second
	// invalid is every argument: no address, no descriptor, no process, no
	// length, no flag that a call could take for good.
	invalid = ^uintptr(0)
	// pending marks a call that has not returned.
	pending = ^uint32(0)
)

// call is a system call to be made in a child.
type call struct {
	key         string
	nr, a, b, c uintptr
}

// systemCalls makes every call by number with invalid arguments, and those that
// profiles judge by their arguments with valid ones, and reports the errors.
func systemCalls(r report) {
	var list []call
	for nr := uintptr(0); nr < lastCall; nr++ {
		if !untried(nr) {
			list = append(list, call{"call." + strconv.Itoa(int(nr)), nr, invalid, invalid, invalid})
		}
	}
	for _, p := range []uintptr{0, 8, 0x20000, 0x20008, 0x40000, 0xffffffff} {
		list = append(list, call{fmt.Sprintf("personality.%x", p), unix.SYS_PERSONALITY, p, 0, 0})
	}
	for family := uintptr(1); family < unix.AF_MAX; family++ {
		for name, kind := range map[string]uintptr{"stream": unix.SOCK_STREAM, "dgram": unix.SOCK_DGRAM, "raw": unix.SOCK_RAW, "seqpacket": unix.SOCK_SEQPACKET} {
			list = append(list, call{fmt.Sprintf("socket.%d.%s", family, name), unix.SYS_SOCKET, family, kind, 0})
		}
	}
	inChildren(r, list)
	for name, flag := range map[string]uintptr{
		"newuser": unix.CLONE_NEWUSER, "newns": unix.CLONE_NEWNS, "newpid": unix.CLONE_NEWPID, "newnet": unix.CLONE_NEWNET,
		"newipc": unix.CLONE_NEWIPC, "newuts": unix.CLONE_NEWUTS, "newcgroup": unix.CLONE_NEWCGROUP,
	} {
		// Each in a child of its own: what works changes what comes after.
		inChildren(r, []call{{"unshare." + name, unix.SYS_UNSHARE, flag, 0, 0}})
		inChildren(r, []call{{"clone." + name, unix.SYS_CLONE, flag | uintptr(unix.SIGCHLD), 0, 0}})
	}
}

// inChildren makes the calls in a copy of this process, which notes the errors'
// numbers in memory that both share. After a call that ends the copy or does not
// return, another one goes on.
func inChildren(r report, list []call) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	shared, err := unix.Mmap(-1, 0, 4*len(list), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		r[list[0].key] = "mmap " + answer(err)
		return
	}
	results := unsafe.Slice((*uint32)(unsafe.Pointer(&shared[0])), len(list)) //nolint:gosec // a mapping of that size
	for i := range results {
		results[i] = pending
	}
	for next := 0; next < len(list); {
		pid, errno := fork(list, results, next)
		if errno != 0 {
			r[list[next].key] = "fork " + unix.ErrnoName(errno)
			return
		}
		end := await(int(pid), results)
		for next < len(list) && atomic.LoadUint32(&results[next]) != pending {
			r[list[next].key] = answerTo(results[next])
			next++
		}
		if next < len(list) {
			r[list[next].key] = end
			next++
		}
	}
	if err := unix.Munmap(shared); err != nil {
		r[list[0].key] = "munmap " + answer(err)
	}
}

func answerTo(no uint32) string {
	if no == 0 {
		return "ok"
	}
	return unix.ErrnoName(unix.Errno(no))
}

// await waits for the child's end, and ends it when it makes no progress.
func await(pid int, results []uint32) string {
	done := func() (n int) {
		for n < len(results) && atomic.LoadUint32(&results[n]) != pending {
			n++
		}
		return n
	}
	last, since := -1, time.Now()
	for {
		var st unix.WaitStatus
		got, err := unix.Wait4(pid, &st, unix.WNOHANG|unix.WALL, nil)
		switch {
		case err != nil:
			return "wait " + answer(err)
		case got != 0 && st.Signaled():
			return "signal " + st.Signal().String()
		case got != 0:
			return "ended"
		}
		if n := done(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > patience {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				return "kill " + answer(err)
			}
			if _, err := unix.Wait4(pid, &st, unix.WALL, nil); err != nil {
				return "wait " + answer(err)
			}
			return "waits"
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// fork copies the process. The child makes the calls from next on and ends; it
// must not enter the Go runtime, whose other threads it lacks.
//
//go:norace
//go:nosplit
func fork(list []call, results []uint32, next int) (pid uintptr, errno unix.Errno) {
	pid, _, errno = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for ; next < len(list); next++ {
		_, _, errno = unix.RawSyscall6(list[next].nr, list[next].a, list[next].b, list[next].c, list[next].a, list[next].a, list[next].a)
		results[next] = uint32(errno)
	}
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

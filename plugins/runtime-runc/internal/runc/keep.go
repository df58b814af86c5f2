package runc

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/shim"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// keeper holds what would be lost with a shim: the bytes in the FIFOs, which go
// with their last reader when the process has ended; the end of standard input
// open; the pty's master; and pidfds, which tell the status of a process only
// to those who had one before its end. Nothing is ever read from them. The next
// shim gets them.
type keeper struct {
	mu   sync.Mutex // guards all below
	held map[string]*holding
}

// holding is what is kept of one process: bare descriptors, off the poller,
// which would wake the driver for all that goes through them. 0 is none.
type holding struct {
	process, tty, stdin int
	outputs             []int
	stdinClosed, ended  bool
}

func (k *keeper) of(exec string) *holding {
	if k.held == nil {
		k.held = map[string]*holding{}
	}
	h := k.held[exec]
	if h == nil {
		h = &holding{}
		k.held[exec] = h
	}
	return h
}

// hold keeps what there is of a process. dir is its directory, client its shim.
func (k *keeper) hold(client *shim.Client, dir, exec string, s wire.State) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.of(exec)
	if h.ended || s.Pid == 0 {
		return nil
	}
	var err error
	if h.process == 0 {
		h.process, err = openProcess(s.Pid, s.Ticks)
	}
	if s.TTY != 0 && h.tty == 0 {
		f, ferr := steal(client.Pid(), s.TTY)
		h.tty, err = f, errors.Join(err, ferr)
	}
	if s.TTY == 0 && h.outputs == nil {
		for _, name := range []string{wire.Stdout, wire.Stderr} {
			f, ferr := openFIFO(filepath.Join(dir, name), unix.O_RDONLY)
			h.outputs, err = append(h.outputs, f), errors.Join(err, ferr)
		}
	}
	if s.StdinOpen && !h.stdinClosed && h.stdin == 0 {
		f, ferr := openFIFO(filepath.Join(dir, wire.Stdin), unix.O_WRONLY)
		if errors.Is(ferr, unix.ENXIO) { // the process has closed it
			ferr = nil
		}
		h.stdin, err = f, errors.Join(err, ferr)
	}
	return err
}

// kept lists what a new shim is to get.
func (k *keeper) kept() (all []shim.Kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for exec, h := range k.held {
		if h.process != 0 {
			all = append(all, shim.Kept{Exec: exec, FD: h.process})
		}
		if h.tty != 0 {
			all = append(all, shim.Kept{Exec: exec, TTY: true, FD: h.tty})
		}
	}
	return all
}

// stdinEnded lets go of standard input, so that the process sees its end.
func (k *keeper) stdinEnded(exec string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.of(exec)
	h.stdinClosed = true
	err := closeFD(h.stdin)
	h.stdin = 0
	return err
}

// drop lets go of all of a process.
func (k *keeper) drop(exec string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.of(exec)
	err := errors.Join(closeFD(h.process), closeFD(h.tty), closeFD(h.stdin))
	for _, f := range h.outputs {
		err = errors.Join(err, closeFD(f))
	}
	*h = holding{ended: true}
	return err
}

// forget forgets an exec, whose name may be used again.
func (k *keeper) forget(exec string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, exec)
}

// dropAll lets go of everything.
func (k *keeper) dropAll() error {
	k.mu.Lock()
	var execs []string
	for e := range k.held {
		execs = append(execs, e)
	}
	k.mu.Unlock()
	var err error
	for _, e := range execs {
		err = errors.Join(err, k.drop(e))
	}
	return err
}

func closeFD(fd int) error {
	if fd == 0 {
		return nil
	}
	return unix.Close(fd)
}

// openFIFO opens one side of a FIFO without waiting.
func openFIFO(path string, flags int) (int, error) {
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// openProcess opens a pidfd; 0 when the process of that start time is gone.
func openProcess(pid int, ticks uint64) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, os.NewSyscallError("pidfd_open", err)
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if err != nil || len(f) < 20 || f[19] != strconv.FormatUint(ticks, 10) {
		return 0, unix.Close(fd)
	}
	return fd, nil
}

// steal duplicates a descriptor of the shim's.
func steal(pid, theirs int) (int, error) {
	p, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, os.NewSyscallError("pidfd_open", err)
	}
	fd, err := unix.PidfdGetfd(p, theirs, 0)
	if err = errors.Join(os.NewSyscallError("pidfd_getfd", err), unix.Close(p)); err != nil {
		return 0, err
	}
	return fd, nil
}

package reap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a process held by pidfd, so that no signal hits another that got
// its number.
// A nil Process has ended.
type Process struct {
	Pid   int
	ticks uint64 // start time, 0 if not known
	f     *os.File
}

// OpenProcess opens a pidfd of a process. Ticks, unless 0, must be its start
// time; a process of another start time is ESRCH.
func OpenProcess(pid int, ticks uint64) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("process %d: open: %w", pid, err)
	}
	p := FromFile(pid, ticks, os.NewFile(uintptr(fd), "pidfd"))
	if ticks == 0 {
		return p, nil
	}
	if now, err := Ticks(pid); err != nil || now != ticks {
		return nil, errors.Join(fmt.Errorf("process %d: another one: %w", pid, unix.ESRCH), p.Close())
	}
	return p, nil
}

// FromFile takes a pidfd, which is on the poller.
func FromFile(pid int, ticks uint64, f *os.File) *Process {
	return &Process{Pid: pid, ticks: ticks, f: f}
}

// Close closes the pidfd.
func (p *Process) Close() error {
	if p == nil {
		return nil
	}
	return p.f.Close()
}

// Signal sends a signal. A process that is gone is no error.
func (p *Process) Signal(sig int) error {
	if p == nil {
		return nil
	}
	err := p.control(func(fd int) error { return unix.PidfdSendSignal(fd, unix.Signal(sig), nil, 0) })
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (p *Process) control(op func(fd int) error) error {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	var oerr error
	if err := rc.Control(func(fd uintptr) { oerr = op(int(fd)) }); err != nil {
		return err
	}
	return oerr
}

// zombieFor is how long a process may stay unreaped without telling its status.
const zombieFor = 5 * time.Second

// Wait learns the end of a process that is not a child: from /proc while nobody
// has reaped it and, since Linux 6.15, from its pidfd thereafter.
func (p *Process) Wait() Status {
	if p == nil {
		return unknown
	}
	rc, err := p.f.SyscallConn()
	if err != nil {
		return unknown
	}
	s := unknown
	err = rc.Read(func(fd uintptr) bool {
		dead, reaped := poll(int(fd))
		if dead && !reaped {
			if s = p.zombieStatus(); s.Known || p.f.SetReadDeadline(time.Now().Add(zombieFor)) != nil {
				return true
			}
			dead, reaped = poll(int(fd)) // it may have been reaped over that
		}
		if dead && reaped {
			s = reapedStatus(int(fd))
		}
		return dead && reaped
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return unknown
	}
	return s
}

var unknown = Status{Code: 255}

// poll tells whether a process has ended, and whether it is reaped too.
func poll(fd int) (dead, reaped bool) {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(p, 0); err != nil {
		return false, false
	}
	return p[0].Revents&unix.POLLIN != 0, p[0].Revents&unix.POLLHUP != 0
}

func reapedStatus(fd int) Status {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(fd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return unknown
	}
	return status(unix.WaitStatus(uint32(info.Exit_code)))
}

// zombieStatus reads the status of a process that nobody has reaped.
func (p *Process) zombieStatus() Status {
	f, err := stat(p.Pid)
	if err != nil || len(f) < 50 || f[0] != "Z" || f[19] != strconv.FormatUint(p.ticks, 10) {
		return unknown
	}
	code, err := strconv.ParseUint(f[49], 10, 32)
	if err != nil {
		return unknown
	}
	return status(unix.WaitStatus(code))
}

// Ticks returns the start time that names the process for good; 0 for none.
func (p *Process) Ticks() (uint64, error) {
	if p == nil {
		return 0, nil
	}
	return Ticks(p.Pid)
}

// Ticks returns the start time of a process in clock ticks since boot.
func Ticks(pid int) (uint64, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	if len(f) < 20 {
		return 0, fmt.Errorf("process %d: short stat", pid)
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// stat returns the fields of /proc/<pid>/stat from the third, state, on. A
// process that is gone is fs.ErrNotExist.
func stat(pid int) (fields []string, err error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readStat(f)
}

// readStat is stat of an open file. A process that was reaped since is ESRCH to
// the kernel.
func readStat(r io.Reader) ([]string, error) {
	b, err := io.ReadAll(r)
	if errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	var fields []string
	for _, f := range bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) {
		fields = append(fields, string(f))
	}
	return fields, nil
}

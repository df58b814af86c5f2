// Package reap starts and reaps processes: those that the shim starts itself,
// those that the OCI runtime leaves to it, and strangers that it adopts.
package reap

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Status is how a process ended.
type Status struct {
	// Code is the exit code, 128+n after signal n.
	Code int
	// Known is false when nobody could learn the true status.
	Known bool
}

// Reaper reaps all children. There must be only one in a process, and nobody
// else may wait.
type Reaper struct {
	signals chan os.Signal

	mu      sync.Mutex          // guards all below
	waiting map[int]chan Status // children that somebody asked for
	early   map[int]Status      // children that ended before
	holds   int                 // how many expect children not yet known
}

// New makes the process a subreaper and begins to reap.
func New() (*Reaper, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become a subreaper: %w", err)
	}
	r := &Reaper{signals: make(chan os.Signal, 1), waiting: map[int]chan Status{}, early: map[int]Status{}}
	signal.Notify(r.signals, unix.SIGCHLD)
	go func() {
		for range r.signals {
			r.reap()
		}
	}()
	return r, nil
}

func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid == 0:
			return
		}
		r.ended(pid, status(ws))
	}
}

func status(ws unix.WaitStatus) Status {
	if ws.Signaled() {
		return Status{Code: 128 + int(ws.Signal()), Known: true}
	}
	return Status{Code: ws.ExitStatus(), Known: true}
}

func (r *Reaper) ended(pid int, s Status) {
	if c, ok := r.waiting[pid]; ok {
		delete(r.waiting, pid)
		c <- s
	} else if r.holds > 0 {
		r.early[pid] = s
	}
}

// Start starts a program. Its status comes from the channel, once.
func (r *Reaper) Start(path string, args []string, attr *syscall.ProcAttr) (pid int, ended <-chan Status, err error) {
	r.mu.Lock() // so that it is not reaped before it is known
	defer r.mu.Unlock()
	pid, err = syscall.ForkExec(path, args, attr)
	if err != nil {
		return 0, nil, &os.PathError{Op: "exec", Path: path, Err: err}
	}
	c := make(chan Status, 1)
	r.waiting[pid] = c
	return pid, c, nil
}

// Expect has the statuses of unknown children kept until release is called,
// for an OCI runtime will leave one.
func (r *Reaper) Expect() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.holds--; r.holds == 0 {
			clear(r.early)
		}
	}
}

// Claim takes a child that somebody else started, while Expect is in force. Its
// status comes from the channel. The process is nil when it has ended already.
func (r *Reaper) Claim(pid int) (*Process, <-chan Status, error) {
	r.mu.Lock() // so that it is not reaped, and its number is its own, meanwhile
	defer r.mu.Unlock()
	c := make(chan Status, 1)
	if s, ok := r.early[pid]; ok {
		delete(r.early, pid)
		c <- s
		return nil, c, nil
	}
	p, err := OpenProcess(pid, 0)
	if err != nil {
		return nil, nil, err
	}
	r.waiting[pid] = c
	return p, c, nil
}

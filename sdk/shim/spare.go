package shim

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// ErrNoSpare is a spare that cannot be used: it has ended, or its program was
// replaced meanwhile. Nothing was done; a shim is to be started.
var ErrNoSpare = errors.New("no spare shim")

// Spare is a shim that was started ahead and waits for a container. It ends
// when its driver does.
type Spare struct {
	process *os.Process
	conn    *net.UnixConn
	program string
	file    identity

	heard  chan struct{} // closed when answer is set
	answer error         // nil: it has taken a container; else it ended without
}

// identity tells a file from the one that took its place.
type identity struct {
	dev, ino   uint64
	size       int64
	mtim, ctim unix.Timespec
}

func identify(path string) (identity, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return identity{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return identity{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// room is for a container's name in the place of a spare's, which the name of
// no container begins with.
var room = strings.Repeat(".", wire.MaxName)

// StartSpare starts a spare for containers whose directories will be in dir. ended
// is called when it has ended without a container.
func StartSpare(program, dir string, cgroup *os.File, ended func(*Spare)) (*Spare, error) {
	s, err := startSpare(program, dir, cgroup)
	if err != nil {
		return nil, fmt.Errorf("start spare %s: %w", program, err)
	}
	go s.receive(ended)
	return s, nil
}

func startSpare(program, dir string, cgroup *os.File) (s *Spare, err error) {
	s = &Spare{program: program, heard: make(chan struct{})}
	if s.file, err = identify(program); err != nil { // first: one that is newer is used by none
		return nil, err
	}
	theirs, err := s.connect()
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, theirs.Close())
		if err != nil {
			err = errors.Join(err, s.conn.Close())
		}
	}()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, null.Close()) }()
	args := []string{filepath.Base(program), wire.Vacant, filepath.Join(dir, room)}
	s.process, err = execute(program, args, cgroup, []uintptr{null.Fd(), null.Fd(), os.Stderr.Fd(), theirs.Fd()})
	return s, err
}

// connect makes the socket pair; one side is the spare's.
func (s *Spare) connect() (theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "spare"), os.NewFile(uintptr(fds[1]), "driver")
	conn, err := net.FileConn(ours)
	if err = errors.Join(err, ours.Close()); err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("not a unix connection"), conn.Close(), theirs.Close())
	}
	s.conn = unixConn
	return theirs, nil
}

// receive waits for the spare's answer to Assign, or its end.
func (s *Spare) receive(ended func(*Spare)) {
	var b [1]byte
	n, err := s.conn.Read(b[:])
	if err == nil && n == 0 {
		err = io.EOF
	}
	s.answer = err
	close(s.heard)
	if err != nil {
		ended(s)
	}
}

// assignWithin is how long a spare may take to answer. On a loaded machine that
// may be long, as it would be for a new shim.
const assignWithin = 5 * time.Second

// Assign has the spare be the shim of a new container; see Start. After any
// error it is gone. ErrNoSpare says that it never began.
func (s *Spare) Assign(l Launch) (*os.Process, error) {
	err := s.assign(l)
	if err == nil {
		return s.process, s.conn.Close()
	}
	err = errors.Join(err, s.kill())
	<-s.heard // it has ended: either it answered before or it never will
	if s.answer != nil {
		err = fmt.Errorf("%w: %w", ErrNoSpare, err)
	}
	return nil, errors.Join(err, s.conn.Close())
}

func (s *Spare) assign(l Launch) (err error) {
	if now, err := identify(l.Program); err != nil || now != s.file || l.Program != s.program {
		return errors.Join(errors.New("the program was replaced"), err)
	}
	listener, log, err := open(l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, listener.Close(), log.Close()) }()
	rights := unix.UnixRights(int(listener.Fd()), int(log.Fd()))
	if _, _, err := s.conn.WriteMsgUnix([]byte(l.Dir), rights, nil); err != nil {
		return err
	}
	mishap.Hit(mishap.RuncAssigned)
	select {
	case <-s.heard:
		return s.answer
	case <-time.After(assignWithin):
		return errors.New("a spare shim does not answer")
	}
}

// Discard ends the spare.
func (s *Spare) Discard() error { return errors.Join(s.kill(), s.conn.Close()) }

// kill returns when the process has ended.
func (s *Spare) kill() error {
	err := s.process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	_, werr := s.process.Wait()
	if errors.Is(werr, syscall.ECHILD) || errors.Is(werr, os.ErrProcessDone) {
		werr = nil
	}
	return errors.Join(err, werr)
}

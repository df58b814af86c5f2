package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Launch says how to start a shim.
type Launch struct {
	// Program is the path of strake-shim.
	Program string
	// Dir is the container's directory; Config is in it.
	Dir    string
	Config wire.Config
	// Adopt takes the place of a shim that died.
	Adopt bool
	// Kept are descriptors for Adopt.
	Kept []Kept
	// Cgroup is a directory of cgroup version 2 for the shim, opened; nil:
	// the caller's own.
	Cgroup *os.File
}

// Kept is a descriptor that was kept for the case that a shim dies.
type Kept struct {
	// Exec is the process that it belongs to, empty for the first.
	Exec string
	// TTY: it is the pty's master; else a pidfd.
	TTY bool
	FD  int
}

// argument names a descriptor on the shim's command line.
func (k Kept) argument() string {
	name := "process"
	if k.TTY {
		name = "tty"
	}
	if k.Exec != "" {
		name += "=" + k.Exec
	}
	return name
}

// Start starts a shim in a session of its own. When it returns, the control socket accepts connections. The caller is to wait for
// the process when its connection is gone; one that lives longer than its
// parent is init's to reap.
func Start(l Launch) (*os.Process, error) {
	p, err := start(l)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", l.Program, err)
	}
	return p, nil
}

func start(l Launch) (p *os.Process, err error) {
	listener, log, err := open(l)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, listener.Close(), log.Close()) }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, null.Close()) }()
	mode := wire.Create
	if l.Adopt {
		mode = wire.Adopt
	}
	args := []string{filepath.Base(l.Program), mode, l.Dir}
	files := []uintptr{null.Fd(), log.Fd(), log.Fd(), listener.Fd()}
	for _, k := range l.Kept {
		args, files = append(args, k.argument()), append(files, uintptr(k.FD))
	}
	return execute(l.Program, args, l.Cgroup, files)
}

// open makes the control socket and opens the shim's log.
func open(l Launch) (listener, log *os.File, err error) {
	if listener, err = listen(l.Config.Control()); err != nil {
		return nil, nil, err
	}
	log, err = os.OpenFile(filepath.Join(l.Dir, wire.LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	return listener, log, nil
}

// execute starts the program in a session of its own.
func execute(program string, args []string, cgroup *os.File, files []uintptr) (*os.Process, error) {
	a := &syscall.SysProcAttr{Setsid: true}
	if cgroup != nil {
		a.UseCgroupFD, a.CgroupFD = true, int(cgroup.Fd())
	}
	pid, _, err := syscall.StartProcess(program, args, &syscall.ProcAttr{Dir: "/", Env: environment(), Sys: a, Files: files})
	if err != nil {
		return nil, err
	}
	return os.FindProcess(pid)
}

// environment has one processor do for the shim: it mostly sleeps, and each
// more would cost memory.
func environment() []string {
	env := append([]string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=1"}, mishap.Env()...)
	for _, k := range [...]string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// listen makes the control socket in place of a dead shim's.
func listen(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err = errors.Join(err, os.Chmod(path, 0o600), l.Close()); err != nil {
		return nil, err
	}
	return f, nil
}

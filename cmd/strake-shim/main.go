// Strake-shim keeps one container: it is the parent of its first process, owns
// its standard streams and its log, and remembers its exit. It outlives daemon
// and driver; see sdk/shim/wire for how they speak.
//
//	strake-shim create <directory>
//	strake-shim adopt <directory> [process[=EXEC]|tty[=EXEC] ...]
//	strake-shim vacant <room for a directory>
//
// Descriptor 3 is the listening control socket; for vacant, a socket that brings
// it and the directory. For adopt, those from 4 on are what the arguments say: a
// pidfd or the pty's master of the first process or of an exec.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/control"
	"github.com/strakehq/strake/cmd/strake-shim/internal/monitor"
	"github.com/strakehq/strake/cmd/strake-shim/internal/mountns"
	"github.com/strakehq/strake/cmd/strake-shim/internal/reap"
	"github.com/strakehq/strake/cmd/strake-shim/internal/spare"
	"github.com/strakehq/strake/sdk/shim/wire"
	"github.com/strakehq/strake/sdk/sysmon"
)

// gcPercent has the first collection come at 800 KiB instead of 4 MiB: later
// than most shims ever get, for a collection alone costs half a megabyte of
// bookkeeping, and early enough for busy ones.
const gcPercent = 20

const listenFD = 3

func main() {
	modes := []string{wire.Create, wire.Adopt, wire.Vacant}
	if len(os.Args) < 3 || !slices.Contains(modes, os.Args[1]) {
		fmt.Fprintln(os.Stderr, "usage: strake-shim create|adopt <directory>  (started by strake-runtime-runc)")
		os.Exit(2)
	}
	err := run(os.Args[1] == wire.Adopt)
	if errors.Is(err, spare.ErrNoDriver) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "strake-shim:", err)
		os.Exit(1)
	}
}

func run(adopt bool) error {
	debug.SetGCPercent(gcPercent)
	sysmon.Relax(200 * time.Microsecond)
	mounts := mountns.New()
	reaper, err := reap.New()
	if err != nil {
		return err
	}
	oomScore := protect()
	dir := os.Args[2]
	if os.Args[1] == wire.Vacant {
		if err := spare.Warm(); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		if dir, err = spare.Await(listenFD); err != nil {
			return err
		}
	}
	listener, err := inherit(listenFD, "control")
	if err != nil {
		return err
	}
	var conf wire.Config
	if err := wire.Load(filepath.Join(dir, wire.ConfigFile), &conf); err != nil {
		return err
	}
	if err := mounts.Enter(conf.NetNS); err != nil {
		return err
	}
	server := control.New()
	c := monitor.New(dir, conf, reaper, mounts, oomScore, server.Emit)
	if adopt {
		k, err := inheritAll(os.Args[3:])
		if err != nil {
			return err
		}
		go c.Adopt(k)
	} else {
		go c.Create()
	}
	return serve(server, listener, c, mounts)
}

// serve serves the container while this thread works in its mount namespace.
func serve(s *control.Server, listener *os.File, c *monitor.Container, m *mountns.Namespace) (err error) {
	done := make(chan struct{})
	go func() {
		err = s.Serve(listener, c)
		close(done)
	}()
	m.Serve(done)
	return err
}

// inherit takes a descriptor that the driver passed, for the poller.
func inherit(fd int, name string) (*os.File, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("descriptor %d (%s): %w", fd, name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func inheritAll(names []string) (monitor.Kept, error) {
	kept := monitor.Kept{}
	for i, n := range names {
		f, err := inherit(listenFD+1+i, n)
		if err != nil {
			return nil, err
		}
		what, exec, _ := strings.Cut(n, "=")
		k := kept[exec]
		if what == "tty" {
			k.TTY = f
		} else {
			k.Process = f
		}
		kept[exec] = k
	}
	return kept, nil
}

// oomScore is what Docker gives its shims, one above the daemon's.
const oomScore = "-499"

// protect makes the kernel's memory killer look elsewhere, and returns what
// children must be given instead; "" when it may not, and they need nothing.
func protect() string {
	const file = "/proc/self/oom_score_adj"
	old, err := os.ReadFile(file)
	if err != nil || os.WriteFile(file, []byte(oomScore), 0) != nil {
		return ""
	}
	return string(old)
}

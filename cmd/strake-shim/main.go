// Strake-shim keeps one container: it is the parent of its first process, owns
// its standard streams and its log, and remembers its exit. It outlives daemon
// and driver; see sdk/shim/wire for how they speak.
//
//	strake-shim create <directory>
//	strake-shim adopt <directory> [process[=EXEC]|tty[=EXEC] ...]
//
// Descriptor 3 is the listening control socket. For adopt, those from 4 on are
// what the arguments say: a pidfd or the pty's master of the first process or
// of an exec.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/control"
	"github.com/strakehq/strake/cmd/strake-shim/internal/monitor"
	"github.com/strakehq/strake/cmd/strake-shim/internal/reap"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// gcPercent has the first collection come at 800 KiB instead of 4 MiB: later
// than most shims ever get, for a collection alone costs half a megabyte of
// bookkeeping, and early enough for busy ones.
const gcPercent = 20

const listenFD = 3

func main() {
	if len(os.Args) < 3 || os.Args[1] != "create" && os.Args[1] != "adopt" {
		fmt.Fprintln(os.Stderr, "usage: strake-shim create|adopt <directory>  (started by strake-runtime-runc)")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "strake-shim:", err)
		os.Exit(1)
	}
}

func run(mode, dir string, kept []string) error {
	debug.SetGCPercent(gcPercent)
	listener, err := inherit(listenFD, "control")
	if err != nil {
		return err
	}
	var conf wire.Config
	if err := wire.Load(filepath.Join(dir, wire.ConfigFile), &conf); err != nil {
		return err
	}
	// The driver cloned us into a mount namespace of our own; what is mounted
	// here must not get out, but the host's mounts shall come in.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make / a slave: %w", err)
	}
	reaper, err := reap.New()
	if err != nil {
		return err
	}
	server := control.New()
	c := monitor.New(dir, conf, reaper, protect(), server.Emit)
	if mode == "adopt" {
		k, err := inheritAll(kept)
		if err != nil {
			return err
		}
		go c.Adopt(k)
	} else {
		go c.Create()
	}
	return server.Serve(listener, c)
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

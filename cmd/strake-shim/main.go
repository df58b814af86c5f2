// Strake-shim keeps one container: it is the parent of its first process, owns
// its standard streams and its log, and remembers its exit. It outlives daemon
// and driver; see sdk/shim/wire for how they speak.
//
//	strake-shim create|adopt <directory>
//
// Descriptor 3 is the listening control socket. For adopt, descriptor 4 is a
// pidfd of the container's first process and 5 its pty's master; either may be
// absent.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/control"
	"github.com/strakehq/strake/cmd/strake-shim/internal/monitor"
	"github.com/strakehq/strake/cmd/strake-shim/internal/reap"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// gcPercent keeps the heap near what lives: at Go's default of 100 the first
// collection comes at 4 MiB, more than the whole shim needs.
const gcPercent = 10

const listenFD = 3

func main() {
	if len(os.Args) != 3 || os.Args[1] != "create" && os.Args[1] != "adopt" {
		fmt.Fprintln(os.Stderr, "usage: strake-shim create|adopt <directory>  (started by strake-runtime-runc)")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "strake-shim:", err)
		os.Exit(1)
	}
}

func run(mode, dir string) error {
	debug.SetGCPercent(gcPercent)
	unix.CloseOnExec(listenFD)
	if err := unix.SetNonblock(listenFD, true); err != nil {
		return fmt.Errorf("descriptor %d: %w", listenFD, err)
	}
	listener := os.NewFile(listenFD, "control")
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
	go c.Create()
	return server.Serve(listener, c)
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

// Package wallclock gives unmodified programs, and all that they start, a clock of
// the day that a test sets: the machine's own stays as it is, and so do the
// monotonic clock and the times that the kernel writes to files.
//
// The kernel has no namespace for that clock, so its reads are answered by a
// supervisor. A seccomp filter, which the program and its descendants inherit,
// hands clock_gettime(CLOCK_REALTIME), gettimeofday and time to it. Programs that
// read the clock without a system call, in the vDSO, are made to call: at each
// exec the supervisor strikes the vDSO's address from the auxiliary vector, after
// which Go's runtime and the C library fall back. Nothing is traced beside the
// moment of an exec.
//
// A test's TestMain calls [Main] first, for the supervisor is the test's own
// program in another process.
package wallclock

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// The first arguments of the test's program in its two other parts.
const (
	serveArg  = "wallclock-serve"
	launchArg = "wallclock-launch"
)

// Main is the supervisor, or becomes the program that is launched, when this
// process was started for that; it does not return then.
func Main() {
	if len(os.Args) < 3 {
		return
	}
	var err error
	switch os.Args[1] {
	case serveArg:
		err = serve(os.Args[2], os.Stdin, os.Stdout)
	case launchArg:
		err = launch(os.Args[2], os.Args[3:])
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wallclock:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Clock is a clock of the day that programs are launched under. It is safe for
// concurrent use.
type Clock struct {
	tb     testing.TB
	socket string

	mu     sync.Mutex
	offset time.Duration  // guarded by mu
	in     io.Writer      // guarded by mu
	out    *bufio.Scanner // guarded by mu
}

// New starts a supervisor, which ends with the test. The clock is the machine's
// until it is set.
func New(tb testing.TB) *Clock {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "stc") // a socket's path is short
	if err != nil {
		tb.Fatal(err)
	}
	c := &Clock{tb: tb, socket: filepath.Join(dir, "s")}
	cmd := exec.Command(self, serveArg, c.socket)
	cmd.Stderr = os.Stderr
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		tb.Fatalf("start the clock's supervisor: %v", err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait(), os.RemoveAll(dir)); err != nil {
			tb.Errorf("end the clock's supervisor: %v", err)
		}
	})
	c.in, c.out = in, bufio.NewScanner(out)
	c.ask("ready")
	return c
}

// Launcher is the command that goes before a program's own. It becomes the
// program.
func (c *Clock) Launcher() []string {
	self, err := os.Executable()
	if err != nil {
		c.tb.Fatal(err)
	}
	return []string{self, launchArg, c.socket}
}

// Set sets the clock to a time, from which it goes on.
func (c *Clock) Set(t time.Time) { c.Shift(time.Until(t.Round(0))) }

// Shift sets the clock to a distance from the machine's. Further than 292 years
// it cannot be.
func (c *Clock) Shift(offset time.Duration) {
	c.tb.Helper()
	c.ask(fmt.Sprintf("offset %d", offset))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
}

// Now is what the clock shows, without a monotonic reading.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Round(0).Add(c.offset)
}

// ask has the supervisor do something.
func (c *Clock) ask(line string) {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.tb.Fatalf("the clock's supervisor: %v", err)
	}
	if !c.out.Scan() || c.out.Text() != "ok" {
		c.tb.Fatalf("the clock's supervisor: %q %v", c.out.Text(), c.out.Err())
	}
}

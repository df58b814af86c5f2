package clock

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
	"github.com/strakehq/strake/test/testkit/wallclock"
)

func TestMain(m *testing.M) {
	wallclock.Main()
	os.Exit(m.Run())
}

// world is a daemon under a clock that is set, and what goes on beside.
type world struct {
	t *testing.T
	c *wallclock.Clock
	h *testkit.Host
	// slow is a registry that takes its time, once it is told to.
	slow *slowWire
}

// start starts a daemon that pulls through a slow wire.
func start(t *testing.T) *world {
	t.Helper()
	const wire = "127.0.0.1:5001"
	c := wallclock.New(t)
	h := testkit.New(t, testkit.WithTracer(c.Launcher()...),
		testkit.WithConfig("[registry.options]\nmirrors = { \"docker.io\" = [\"http://"+wire+"\"] }\n"))
	w := &world{t: t, c: c, h: h, slow: newSlowWire(t, h, wire)}
	h.Start()
	return w
}

// inspect is one value of a container.
func (w *world) inspect(id, format string) string {
	w.t.Helper()
	return w.h.MustDocker("inspect", "-f", "{{"+format+"}}", id)
}

func (w *world) number(id, format string) int {
	w.t.Helper()
	n, err := strconv.Atoi(w.inspect(id, format))
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// client is a command of the CLI that runs beside the test.
type client struct {
	cmd  *exec.Cmd
	out  *output
	done chan testkit.Result
}

// output may be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// beside runs a command of the CLI until it ends, or the test.
func (w *world) beside(args ...string) *client {
	w.t.Helper()
	c := &client{cmd: w.h.Command(testkit.DockerCLI(), args...), out: &output{}, done: make(chan testkit.Result, 1)}
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := w.h.Namespace().Start(c.cmd); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		c.cmd.Wait() // its code says it
		c.done <- testkit.Result{Stdout: c.out.String(), Code: c.cmd.ProcessState.ExitCode()}
	}()
	w.t.Cleanup(func() { c.cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	return c
}

// goesOn fails when the command has ended.
func (w *world) goesOn(what string, c *client) {
	w.t.Helper()
	select {
	case r := <-c.done:
		c.done <- r
		w.t.Errorf("%s has ended with code %d: %s", what, r.Code, tail(r.Stdout))
	default:
	}
}

// result awaits the end of a command, which must come within a time.
func (w *world) result(what string, c *client, within time.Duration) testkit.Result {
	w.t.Helper()
	select {
	case r := <-c.done:
		return r
	case <-time.After(within):
		w.t.Fatalf("%s has not ended within %s: %s", what, within, tail(c.out.String()))
		return testkit.Result{}
	}
}

func tail(s string) string { return s[max(0, len(s)-500):] }

// wantWhole fails on a gap or a double among a counter's lines.
func wantWhole(t *testing.T, what, text string) (lines int) {
	t.Helper()
	text = text[:strings.LastIndexByte(text, '\n')+1]
	for line := range strings.Lines(text) {
		lines++
		if want := fmt.Sprintf("line %d\n", lines); line != want {
			t.Errorf("%s: line %d is %q", what, lines, line)
			return lines
		}
	}
	return lines
}

// slowWire passes connections on to the registry, at a rate.
type slowWire struct {
	rate  atomic.Int64 // bytes in a second; 0: no bound
	bytes atomic.Int64 // that went to the clients
}

func newSlowWire(t *testing.T, h *testkit.Host, address string) *slowWire {
	t.Helper()
	s := &slowWire{}
	var l net.Listener
	if err := h.Namespace().Do(func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.pass(h, c)
		}
	}()
	return s
}

func (s *slowWire) pass(h *testkit.Host, c net.Conn) {
	defer c.Close()
	r, err := h.Namespace().DialContext(context.Background(), "tcp4", h.Registry)
	if err != nil {
		return
	}
	defer r.Close()
	go io.Copy(r, c) //nolint:errcheck // ends with either
	b := make([]byte, 16<<10)
	for {
		n, err := r.Read(b)
		if n > 0 {
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
			s.bytes.Add(int64(n))
			if rate := s.rate.Load(); rate > 0 {
				time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
			}
		}
		if err != nil {
			return
		}
	}
}

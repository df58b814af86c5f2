// Package engine starts what is compared, each with a network namespace, a
// registry, directories and a cgroup of its own, and gives commands to it.
package engine

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/bench/measure"
	"github.com/strakehq/strake/test/testkit"
)

// Engine is one way of asking an engine for something.
type Engine struct {
	Name string
	Host *testkit.Host
	CG   *measure.Cgroup
	// Socket serves the Docker Engine API; empty where there is no daemon.
	Socket string
	// RunArgs go between "run" or "create" and what the caller wants.
	RunArgs []string

	command     func(args ...string) *exec.Cmd
	start, stop func() error
}

// Command makes a command for the engine's CLI.
func (e *Engine) Command(args ...string) *exec.Cmd {
	if len(e.RunArgs) > 0 && len(args) > 0 && (args[0] == "run" || args[0] == "create") {
		args = append(append([]string{args[0]}, e.RunArgs...), args[1:]...)
	}
	return e.command(args...)
}

// Run runs a command.
func (e *Engine) Run(args ...string) testkit.Result { return e.Host.Run(e.Command(args...)) }

// Must runs a command that has to succeed and returns its trimmed output.
func (e *Engine) Must(tb testing.TB, args ...string) string {
	tb.Helper()
	return e.MustRun(tb, e.Command(args...))
}

// MustRun is Must for a command of Command.
func (e *Engine) MustRun(tb testing.TB, cmd *exec.Cmd) string {
	tb.Helper()
	r := e.Host.Run(cmd)
	if r.Code != 0 {
		tb.Fatalf("%s: %s: exit code %d: %s", e.Name, strings.Join(cmd.Args, " "), r.Code, r.Stderr)
	}
	return r.Out()
}

// Time is how long a command takes that has to succeed, in milliseconds.
func (e *Engine) Time(tb testing.TB, args ...string) float64 {
	tb.Helper()
	return Millis(func() { e.Must(tb, args...) })
}

// Millis is how long f takes.
func Millis(f func()) float64 {
	start := time.Now()
	f()
	return float64(time.Since(start).Microseconds()) / 1000
}

// Restart stops the daemon and starts it again. It returns, in milliseconds, how
// long the new one took from its start to an answer that says it is ready.
func (e *Engine) Restart() (ms float64, err error) {
	if err := e.stop(); err != nil {
		return 0, err
	}
	ms = Millis(func() { err = e.start() })
	return ms, err
}

// API is a client of the daemon's socket with kept connections.
func (e *Engine) API(connections int) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: connections,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.Socket)
		},
	}}
}

// Processes are those of the engine with its drivers, shims, proxies and monitors,
// without containers and clients.
func (e *Engine) Processes() []int {
	var pids []int
	for _, pid := range e.CG.Processes() {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			continue // it ended
		}
		name := filepath.Base(exe)
		for _, own := range []string{"straked", "strake-", "dockerd", "docker-", "containerd", "conmon"} {
			if strings.HasPrefix(name, own) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// newHost makes the surroundings of an engine.
func newHost(tb testing.TB, name, imagesDir string, opts ...testkit.Option) (*testkit.Host, *measure.Cgroup) {
	cg, err := measure.NewCgroup(fmt.Sprintf("/strake-bench-%d/%s", os.Getpid(), name))
	if err != nil {
		tb.Fatalf("cgroup for %s: %v", name, err)
	}
	tb.Cleanup(func() {
		for range 50 { // the last processes are ending
			if err = cg.Close(); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		tb.Errorf("clean up: %v", err)
	})
	h := testkit.New(tb, append(opts, testkit.WithImages(imagesDir), testkit.WithRunOnTmpfs(), testkit.WithCgroup(cg.Containers()))...)
	h.Namespace().Before(cg.Enter)
	return h, cg
}

// waitFor waits until a daemon answers.
func waitFor(e *Engine, within time.Duration) error {
	client := e.API(1)
	defer client.CloseIdleConnections()
	var last error
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		resp, err := client.Get("http://engine/_ping")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("ping: %s", resp.Status)
		}
		last = err
	}
	return fmt.Errorf("%s does not answer within %s: %w", e.Name, within, last)
}

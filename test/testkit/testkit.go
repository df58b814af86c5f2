// Package testkit gives tests a Strake of their own: a network namespace, a
// registry on its loopback that holds images made from Debian packages, and a
// daemon with its state in a temporary directory. Nothing of it touches the
// machine's own network, and Leaks shows what a daemon left behind.
package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Root is the repository's top directory.
func Root() string {
	dir, err := os.Getwd() // a test's is its package's
	if err != nil {
		panic(err)
	}
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
	}
	panic("no go.mod above " + dir)
}

// Bin is the path of one of the project's programs, built by make build.
func Bin(name string) string {
	if dir := os.Getenv("STRAKE_BIN"); dir != "" {
		return filepath.Join(dir, name)
	}
	return filepath.Join(Root(), "bin", name)
}

// Host is a machine in the small: a network namespace with a registry and,
// between Start and Stop, a daemon.
type Host struct {
	tb testing.TB
	// Dir is the host's temporary directory: state/, run/, config.toml,
	// straked.log.
	Dir string
	// RunDir is the daemon's run directory, run/ unless an option says otherwise.
	RunDir string
	// Socket is the API's unix socket.
	Socket string
	// Registry is the registry's address, within the namespace.
	Registry string

	ns       *Namespace
	registry *exec.Cmd
	daemon   *exec.Cmd
	cgroup   string
	extra    string
	env      []string
	args     []string
	under    []string
	straked  string
	images   string
	// subordinate: see WithSubordinateIDs
	subordinate bool
	// enter takes the calling thread into the daemon's mount namespace; nil
	// when that is the test's.
	enter func() error
}

// Option changes a Host before its first start.
type Option func(*Host)

// WithConfig appends text to the config file that New writes. Tables of the
// standard file ([storage], …) are replaced when the text has its own.
func WithConfig(toml string) Option { return func(h *Host) { h.extra = toml } }

// WithEnv adds variables to the daemon's environment.
func WithEnv(env ...string) Option { return func(h *Host) { h.env = append(h.env, env...) } }

// WithArgs adds arguments to the daemon's command line.
func WithArgs(args ...string) Option { return func(h *Host) { h.args = append(h.args, args...) } }

// WithCgroup names the cgroup below which the daemon makes those of containers.
func WithCgroup(path string) Option { return func(h *Host) { h.cgroup = path } }

// WithImages has the registry serve a storage directory as it is, in place of a
// copy of the test images. Hosts may share one that nobody pushes to.
func WithImages(dir string) Option { return func(h *Host) { h.images = dir } }

// WithRunOnTmpfs puts the run directory on a tmpfs, as /run is on most machines.
func WithRunOnTmpfs() Option {
	return func(h *Host) {
		dir := filepath.Join(h.Dir, "tmpfs")
		if err := errors.Join(os.Mkdir(dir, 0o711), syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0711")); err != nil {
			h.tb.Fatalf("mount a tmpfs on %s: %v", dir, err)
		}
		h.RunDir = filepath.Join(dir, "run")
		h.Socket = filepath.Join(h.RunDir, "strake.sock")
		h.tb.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				h.tb.Errorf("clean up: %v", err)
			}
		})
	}
}

// WithTracer starts the daemon by a command that goes before its own and leaves
// it the process that was started, as `strace -D` does.
func WithTracer(command ...string) Option { return func(h *Host) { h.under = command } }

// WithDaemon runs a program in place of straked.
func WithDaemon(path string) Option { return func(h *Host) { h.straked = path } }

// New makes a host with a running registry and no daemon yet. All of it ends
// with the test.
func New(tb testing.TB, opts ...Option) *Host {
	tb.Helper()
	// Socket paths are limited to 108 bytes, so the directory's name is short.
	dir, err := os.MkdirTemp("", "stk")
	if err != nil {
		tb.Fatal(err)
	}
	h := &Host{
		tb: tb, Dir: dir, RunDir: filepath.Join(dir, "run"), Socket: filepath.Join(dir, "run", "strake.sock"),
		cgroup: "/strake-test-" + filepath.Base(dir), straked: Bin("straked"),
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("clean up: %v", err)
		}
	})
	for _, o := range opts {
		o(h)
	}
	tb.Cleanup(h.checkRaces) // after the last program, before directories go
	h.ns = NewNamespace(tb)
	if h.subordinate {
		h.provideIDs()
	}
	h.startRegistry()
	h.WriteConfig(h.extra)
	return h
}

// Start makes a host and starts its daemon.
func Start(tb testing.TB, opts ...Option) *Host {
	tb.Helper()
	h := New(tb, opts...)
	h.Start()
	return h
}

// WriteConfig writes the daemon's config file with extra appended.
func (h *Host) WriteConfig(extra string) {
	h.tb.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "state_dir = %q\nrun_dir = %q\ncgroup_parent = %q\n", h.Dir+"/state", h.RunDir, h.cgroup)
	if !strings.Contains(extra, "log_level") {
		b.WriteString("log_level = \"debug\"\n")
	}
	top, tables, _ := strings.Cut(extra, "[")
	b.WriteString(top)
	if !strings.Contains(extra, "[registry.options]") {
		fmt.Fprintf(&b, "[registry.options]\nmirrors = { \"docker.io\" = [\"http://%s\"] }\n", h.Registry)
	}
	if tables != "" {
		b.WriteString("[" + tables)
	}
	if err := os.WriteFile(filepath.Join(h.Dir, "config.toml"), []byte(b.String()), 0o644); err != nil {
		h.tb.Fatal(err)
	}
}

// Start starts the daemon and waits until it answers.
func (h *Host) Start() {
	h.tb.Helper()
	if err := h.TryStart(); err != nil {
		h.tb.Fatalf("%v\n%s", err, h.Log())
	}
}

// TryStart is Start for daemons that may refuse.
func (h *Host) TryStart() error {
	log, err := os.OpenFile(h.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	line := append(h.under[:len(h.under):len(h.under)], h.straked, "--config", filepath.Join(h.Dir, "config.toml"), "--host", "unix://"+h.Socket)
	line = append(line, h.args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(append(os.Environ(), h.goRace()), h.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.ns.Start(cmd); err != nil {
		return fmt.Errorf("start straked: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case err := <-exited:
			return fmt.Errorf("straked ended at start: %w", err)
		case <-deadline:
			return errors.Join(errors.New("straked does not answer"), cmd.Process.Kill())
		case <-time.After(2 * time.Millisecond):
		}
		if c, err := net.Dial("unix", h.Socket); err == nil {
			c.Close()
			if h.ping() == nil {
				break
			}
		}
	}
	h.daemon = cmd
	h.tb.Cleanup(func() { h.cleanup(cmd, exited) })
	return nil
}

func (h *Host) ping() error {
	resp, err := h.API().Get("http://strake/_ping")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping: %s", resp.Status)
	}
	return nil
}

// cleanup ends the last daemon and removes what it made.
func (h *Host) cleanup(cmd *exec.Cmd, exited chan error) {
	if h.daemon == cmd {
		if h.tb.Failed() {
			h.tb.Logf("daemon's log:\n%s", h.Log())
		}
		h.Teardown()
	}
	<-exited
}

// Stop ends the daemon in good order and waits for it.
func (h *Host) Stop() { h.signal(syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL and waits until it is gone.
func (h *Host) Kill() { h.signal(syscall.SIGKILL) }

// Crash ends the daemon as a fault of its own would, with SIGABRT, and waits
// until it is gone.
func (h *Host) Crash() { h.signal(syscall.SIGABRT) }

func (h *Host) signal(sig syscall.Signal) {
	h.tb.Helper()
	cmd := h.daemon
	if cmd == nil {
		return
	}
	h.daemon = nil
	if err := cmd.Process.Signal(sig); err != nil {
		h.tb.Errorf("signal straked: %v", err)
	}
	// Not before it is waited for: a zombie's other threads may still hold its lock.
	h.Eventually(20*time.Second, "straked ends", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", cmd.Process.Pid))
		return errors.Is(err, os.ErrNotExist)
	})
}

// Alive says whether a process exists and is no zombie.
func Alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(b, []byte(") "))
	return !bytes.HasPrefix(after, []byte("Z"))
}

// Teardown stops the daemon and has everything undone that outlives it:
// containers, networks, firewall rules.
func (h *Host) Teardown() {
	h.tb.Helper()
	h.Stop()
	h.checkRaces() // the drivers' logs go
	r := h.Run(h.Command(h.straked, "--config", filepath.Join(h.Dir, "config.toml"), "--teardown"))
	if r.Code != 0 {
		h.tb.Errorf("straked --teardown: %s%s", r.Stdout, r.Stderr)
	}
}

// Pid is the daemon's process id.
func (h *Host) Pid() int { return h.daemon.Process.Pid }

// LogPath is the daemon's log.
func (h *Host) LogPath() string { return filepath.Join(h.Dir, "straked.log") }

// Log is what the daemon logged so far.
func (h *Host) Log() string {
	b, err := os.ReadFile(h.LogPath())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Namespace is the host's network namespace.
func (h *Host) Namespace() *Namespace { return h.ns }

// API is an HTTP client on the daemon's socket; the URL's host is ignored.
func (h *Host) API() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.Socket)
		},
	}}
}

// HTTP is a client that connects from within the host's namespace, as a process
// on the host would.
func (h *Host) HTTP() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.ns.DialContext}}
}

// Eventually fails the test unless cond holds before the timeout.
func (h *Host) Eventually(timeout time.Duration, what string, cond func() bool) {
	h.tb.Helper()
	for end := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
		if cond() {
			return
		}
		if time.Now().After(end) {
			h.tb.Fatalf("not within %s: %s", timeout, what)
		}
	}
}

// Lost says whether the daemon has died without Stop or Kill. It may be started
// again then.
func (h *Host) Lost() bool {
	if h.daemon != nil && Alive(h.daemon.Process.Pid) {
		return false
	}
	h.daemon = nil
	return true
}

// Cgroup is the parent of all containers' cgroups.
func (h *Host) Cgroup() string { return h.cgroup }

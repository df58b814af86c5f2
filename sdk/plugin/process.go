package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/strakehq/strake/sdk/mishap"
)

// process runs a driver's binary for go-plugin, whose own runner would leave
// the driver's standard error in a pipe and its sockets in /tmp.
type process struct {
	cmd      *exec.Cmd
	stdout   *os.File // read end: the handshake
	stderr   *os.File // read end: log lines; nil when the log is a file
	lifeline *os.File // write end; the driver ends when it is closed
	exited   chan struct{}

	mu    sync.Mutex
	state error  // guarded by mu; why the process ended, after exited
	first string // guarded by mu; the first line on standard output
}

var _ runner.Runner = (*process)(nil)

// newProcess prepares a process with go-plugin's environment in env.
func newProcess(c LaunchConfig, dir string, env []string) *process {
	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // its life is not that of a context
	cmd.Env = append(environment(os.Environ()), c.Env...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Env = append(cmd.Env, mishap.Env()...)
	cmd.Env = append(cmd.Env, goplugin.EnvUnixSocketDir+"="+dir, envLifeline+"=stdin", envLogLevel+"="+c.Logger.GetLevel().String())
	cmd.Dir = "/"
	// Signals from a terminal are the host's to act on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &process{cmd: cmd, exited: make(chan struct{})}
}

// open connects the standard streams, the log to a file unless path is empty.
func (p *process) open(logPath string) (child []*os.File, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(child...), closeAll(p.stdout, p.stderr, p.lifeline))
		}
	}()
	var in, out, log *os.File
	if in, p.lifeline, err = os.Pipe(); err != nil {
		return child, err
	}
	child = append(child, in)
	if p.stdout, out, err = os.Pipe(); err != nil {
		return child, err
	}
	child = append(child, out)
	if logPath != "" {
		log, err = os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	} else if p.stderr, log, err = os.Pipe(); err == nil {
		p.cmd.Env = append(p.cmd.Env, envLogFormat+"=json")
	}
	if err != nil {
		return child, err
	}
	child = append(child, log)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, log
	return child, nil
}

func closeAll(files ...*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// start runs the process and waits for its end in the background.
func (p *process) start(logPath string) error {
	child, err := p.open(logPath)
	if err != nil {
		return fmt.Errorf("driver %s: %w", p.cmd.Path, err)
	}
	err = p.cmd.Start()
	if closeErr := closeAll(child...); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(fmt.Errorf("driver %s: start: %w", p.cmd.Path, err), closeAll(p.stdout, p.stderr, p.lifeline))
	}
	go func() {
		err := p.cmd.Wait()
		p.mu.Lock()
		p.state = err
		p.mu.Unlock()
		close(p.exited)
		// A child of the driver may hold the pipes open: do not wait for it.
		soon := time.Now().Add(100 * time.Millisecond)
		for _, f := range []*os.File{p.stdout, p.stderr} {
			if f != nil {
				_ = f.SetReadDeadline(soon) // closed: nobody reads
			}
		}
	}()
	return nil
}

// outcome describes how the process ended.
func (p *process) outcome() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == nil {
		return "exit status 0"
	}
	return p.state.Error()
}

// firstLine is what the driver first printed, empty if nothing.
func (p *process) firstLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

// Start is called after start.
func (p *process) Start(context.Context) error { return nil }

// Wait waits for the process to end.
func (p *process) Wait(context.Context) error {
	<-p.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.state, closeAll(p.stdout, p.stderr), p.hangUp())
}

// hangUp closes the lifeline, once: the driver exits.
func (p *process) hangUp() error {
	if err := p.lifeline.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Kill ends the process with SIGKILL.
func (p *process) Kill(context.Context) error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Stdout carries the handshake.
func (p *process) Stdout() io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{&firstLineReader{r: bufio.NewReader(p.stdout), p: p}, p.stdout}
}

// firstLineReader keeps a copy of the first line.
type firstLineReader struct {
	r    *bufio.Reader
	p    *process
	done bool
}

func (f *firstLineReader) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if f.done {
		return n, err
	}
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	line, _, ended := strings.Cut(string(b[:n]), "\n")
	f.p.first += line
	f.done = ended || err != nil || len(f.p.first) > 4096
	return n, err
}

// Stderr carries log lines when there is no log file.
func (p *process) Stderr() io.ReadCloser {
	if p.stderr == nil {
		return io.NopCloser(strings.NewReader(""))
	}
	return p.stderr
}

// Name is the binary's path.
func (p *process) Name() string { return p.cmd.Path }

// ID is the process id.
func (p *process) ID() string { return strconv.Itoa(p.cmd.Process.Pid) }

// Diagnose has nothing to add: Launch shows the log.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost translates nothing.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin translates nothing.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

package testkit

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Result is a finished command.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Out is the standard output without surrounding white space.
func (r Result) Out() string { return strings.TrimSpace(r.Stdout) }

// Docker runs the docker CLI against the daemon.
func (h *Host) Docker(args ...string) Result {
	h.tb.Helper()
	return h.Run(h.Command(DockerCLI(), args...))
}

// DockerCLI is the machine's docker CLI or, where there is none, the one that
// make test-system unpacks.
func DockerCLI() string {
	if p, err := exec.LookPath("docker"); err == nil {
		return p
	}
	return filepath.Join(Root(), ".build", "docker-cli", "usr", "bin", "docker")
}

// Strake runs the strake CLI against the daemon.
func (h *Host) Strake(args ...string) Result {
	h.tb.Helper()
	return h.Run(h.Command(Bin("strake"), args...))
}

// MustDocker is Docker, and the command must succeed. It returns the trimmed
// standard output.
func (h *Host) MustDocker(args ...string) string {
	h.tb.Helper()
	return h.must("docker", args, h.Docker(args...))
}

// MustStrake is Strake, and the command must succeed.
func (h *Host) MustStrake(args ...string) string {
	h.tb.Helper()
	return h.must("strake", args, h.Strake(args...))
}

func (h *Host) must(name string, args []string, r Result) string {
	h.tb.Helper()
	if r.Code != 0 {
		h.tb.Fatalf("%s %s: exit code %d\nstdout: %s\nstderr: %s", name, strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Out()
}

// Command makes a command whose DOCKER_HOST and STRAKE_HOST name the daemon,
// with a configuration directory of its own.
func (h *Host) Command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+h.Socket, "STRAKE_HOST=unix://"+h.Socket,
		"DOCKER_CONFIG="+h.Dir+"/cli", "HOME="+h.Dir, "DOCKER_CLI_HINTS=false", "LC_ALL=C", h.goRace())
	return cmd
}

// Run runs a command within the host's namespace and returns its result. A
// command that cannot be started fails the test.
func (h *Host) Run(cmd *exec.Cmd) Result {
	h.tb.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &errs
	}
	if err := h.ns.Start(cmd); err != nil {
		h.tb.Fatalf("%s: %v", cmd.Path, err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.tb.Fatalf("%s: %v", cmd.Path, err)
	}
	return Result{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode()}
}

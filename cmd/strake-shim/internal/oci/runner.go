// Package oci runs the commands of an OCI runtime and learns from its log why
// one failed.
package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/strakehq/strake/cmd/strake-shim/internal/mountns"
	"github.com/strakehq/strake/cmd/strake-shim/internal/reap"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Runner runs an OCI runtime.
type Runner struct {
	Runtime wire.Runtime
	Reaper  *reap.Reaper
	// Mounts is where it runs.
	Mounts *mountns.Namespace
	// Dir is where logs of commands are put meanwhile.
	Dir string
	// OOMScore is written for each command when it is not "", so that a
	// container does not inherit the shim's.
	OOMScore string

	count atomic.Int64
}

// Error is a command's failure in the runtime's own words.
type Error struct {
	Command string
	Text    string
}

func (e *Error) Error() string { return e.Text }

// Run runs a command to its end, with stdio as standard streams; nil files
// are /dev/null.
func (r *Runner) Run(stdio [3]*os.File, command string, args ...string) error {
	log := filepath.Join(r.Dir, "runtime."+strconv.FormatInt(r.count.Add(1), 10)+".log")
	ended, err := r.start(stdio, log, command, args)
	if err != nil {
		return &Error{command, err.Error()}
	}
	mishap.Hit(mishap.ShimRunning)
	s := <-ended
	mishap.Hit(mishap.ShimRan)
	if s.Code != 0 {
		return errors.Join(&Error{command, r.reason(log, command, s)}, remove(log))
	}
	return remove(log)
}

// Status asks the runtime for a container's status.
func (r *Runner) Status(id string) (string, error) {
	out, err := os.CreateTemp(r.Dir, "state-*.json")
	if err != nil {
		return "", err
	}
	err = r.Run([3]*os.File{1: out}, "state", id)
	var s struct{ Status string }
	if err == nil {
		err = wire.Load(out.Name(), &s)
	}
	return s.Status, errors.Join(err, out.Close(), os.Remove(out.Name()))
}

func (r *Runner) start(stdio [3]*os.File, log, command string, args []string) (ended <-chan reap.Status, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // a read-only device
	fds := make([]uintptr, len(stdio))
	for i, f := range stdio {
		if f == nil {
			f = null
		}
		fds[i] = f.Fd()
	}
	argv := append([]string{r.Runtime.Binary}, r.Runtime.Args...)
	argv = append(argv, "--log", log, "--log-format", "json", command)
	attr := &syscall.ProcAttr{Dir: r.Dir, Env: environment(), Files: fds}
	pid := 0
	err = r.Mounts.Do(func() (err error) {
		pid, ended, err = r.Reaper.Start(r.Runtime.Binary, append(argv, args...), attr)
		return err
	})
	if err == nil && r.OOMScore != "" {
		err = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(r.OOMScore), 0)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // ended already
		}
	}
	return ended, err
}

// environment leaves out what tunes the shim's own Go runtime.
func environment() []string {
	env := []string{"PATH=" + os.Getenv("PATH")}
	for _, k := range [...]string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// reason is the last error in the log.
func (r *Runner) reason(log, command string, s reap.Status) string {
	text := ""
	b, err := os.ReadFile(log)
	if err == nil {
		text = lastError(b)
	}
	if text == "" {
		text = fmt.Sprintf("%s %s: exit status %d", filepath.Base(r.Runtime.Binary), command, s.Code)
	}
	return text
}

func lastError(log []byte) (text string) {
	for line := range bytes.Lines(log) {
		var e struct{ Level, Msg string }
		if json.Unmarshal(line, &e) == nil && e.Msg != "" && e.Level != "warning" && e.Level != "info" && e.Level != "debug" {
			text = e.Msg
		}
	}
	return text
}

// note writes to the shim's own log.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, "runtime: "+format+"\n", args...) }

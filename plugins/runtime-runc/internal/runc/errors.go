package runc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// classify gives an error that the shim answered to a request its class.
func (c *container) classify(r wire.Request, err error) error {
	e, ok := errors.AsType[*wire.Error](err)
	switch {
	case errors.Is(err, shim.ErrGone):
		err = fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
	case ok && e.Class == wire.RuntimeFailed:
		err = classifyRuntime(err, func() string { return c.command(r) })
	case ok && classes(e.Class) != nil:
		err = fmt.Errorf("%w: %w", err, classes(e.Class))
	}
	return fmt.Errorf("container %s: %w", c.id, err)
}

func classes(c wire.Class) error {
	switch c {
	case wire.NotFound:
		return errdefs.ErrNotFound
	case wire.Precondition:
		return errdefs.ErrFailedPrecondition
	case wire.Exists:
		return errdefs.ErrAlreadyExists
	case wire.Internal:
		return errdefs.ErrInternal
	default:
		return nil
	}
}

// command is what a request meant to execute.
func (c *container) command(r wire.Request) string {
	var spec struct {
		Process struct{ Args []string }
	}
	var err error
	if r.Op == wire.OpExec {
		err = json.Unmarshal(r.Process, &spec.Process)
	} else {
		err = wire.Load(filepath.Join(c.conf.Bundle, "config.json"), &spec)
	}
	if err != nil || len(spec.Process.Args) == 0 {
		return ""
	}
	return spec.Process.Args[0]
}

// classifyRuntime reads the OCI runtime's words, since its exit status does not
// tell a missing command from other failures, and puts crun's into runc's,
// which Docker's clients know.
func classifyRuntime(err error, command func() string) error {
	text := err.Error()
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
	}
	switch {
	case strings.Contains(text, "executable file `"):
		return fmt.Errorf("exec: %q: executable file not found in $PATH: %w: %w", command(), err, errdefs.ErrNotFound)
	case has("exec: ") && has("executable file not found", "no such file or directory"):
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	case strings.Contains(text, "open executable: "):
		return fmt.Errorf("exec: %q: permission denied: %w: %w", command(), err, errdefs.ErrPermissionDenied)
	case has("exec: ") && has("permission denied", "is a directory"):
		return fmt.Errorf("%w: %w", err, errdefs.ErrPermissionDenied)
	default:
		return err
	}
}

func ignoreNotFound(err error) error {
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}

func isNoShim(err error) bool { return errors.Is(err, errNoShim) }

// removeExec removes what an exec has left, its shim being gone.
func (c *container) removeExec(exec runtime.ExecID) error {
	return os.RemoveAll(filepath.Join(c.dir, wire.ExecDir, string(exec)))
}

package runc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// classify gives an error of the shim's its class.
func (c *container) classify(err error) error {
	e, ok := errors.AsType[*wire.Error](err)
	switch {
	case errors.Is(err, shim.ErrGone):
		return fmt.Errorf("container %s: %w: %w", c.id, err, errdefs.ErrUnavailable)
	case !ok:
		return fmt.Errorf("container %s: %w", c.id, err)
	case e.Class == wire.RuntimeFailed:
		return fmt.Errorf("container %s: %w", c.id, classifyRuntime(err))
	}
	class := map[wire.Class]error{
		wire.NotFound: errdefs.ErrNotFound, wire.Precondition: errdefs.ErrFailedPrecondition,
		wire.Exists: errdefs.ErrAlreadyExists, wire.Internal: errdefs.ErrInternal,
	}[e.Class]
	if class == nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	return fmt.Errorf("container %s: %w: %w", c.id, err, class)
}

// classifyRuntime reads the OCI runtime's words: its exit status does not tell
// a missing command from other failures.
func classifyRuntime(err error) error {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("executable file not found", "exec: ") && has("not found", "no such file or directory"):
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	case has("exec", "executable") && has("permission denied", "Permission denied", "is a directory", "Is a directory"):
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

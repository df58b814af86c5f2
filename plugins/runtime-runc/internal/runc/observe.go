package runc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/plugins/runtime-runc/internal/cgstat"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim/cgroup"
)

// Processes returns the pids of all processes of a container.
func (d *Driver) Processes(ctx context.Context, id runtime.ContainerID) ([]int, error) {
	g, pid, err := d.groups(ctx, id)
	if err != nil {
		return nil, err
	}
	if g.Processes() == "" { // of those that it had nothing more is known
		return []int{pid}, nil
	}
	pids, err := cgroup.Processes(g.Processes())
	if err != nil {
		return nil, fmt.Errorf("container %s: processes: %w", id, err)
	}
	return pids, nil
}

// Stats takes one reading.
func (d *Driver) Stats(ctx context.Context, id runtime.ContainerID) (runtime.Stats, error) {
	g, pid, err := d.groups(ctx, id)
	if err != nil {
		return runtime.Stats{}, err
	}
	return g.Read(pid), nil
}

// groups finds the cgroups of a container that has not stopped.
func (d *Driver) groups(ctx context.Context, id runtime.ContainerID) (cgstat.Groups, int, error) {
	s, err := d.State(ctx, id, "")
	if err != nil {
		return cgstat.Groups{}, 0, err
	}
	stopped := fmt.Errorf("container %s: is stopped: %w", id, errdefs.ErrFailedPrecondition)
	if s.Pid == 0 {
		return cgstat.Groups{}, 0, stopped
	}
	g, err := cgstat.Of(s.Pid, string(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = stopped
	}
	return g, s.Pid, err
}

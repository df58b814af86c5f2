package container

import (
	"context"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/logs"
)

// Logs implements containers.Streamer. Following ends with the present run of
// the process, as Docker's.
func (m *Manager) Logs(ctx context.Context, ref string, o logs.Options) (containers.LogStream, error) {
	u, err := m.find(ref)
	if err != nil {
		return containers.LogStream{}, err
	}
	u.mu.Lock()
	r, ended := u.rec, u.ended
	u.mu.Unlock()
	path := m.logPath(r)
	if path == "" {
		return containers.LogStream{}, refuse(errdefs.ErrNotImplemented, "configured logging driver does not support reading")
	}
	if ended == nil {
		o.Follow = false
	}
	return containers.LogStream{TTY: r.Config.Tty, Entries: logs.Read(ctx, path, o, ended)}, nil
}

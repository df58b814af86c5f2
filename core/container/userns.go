package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/sys/user"

	"github.com/strakehq/strake/core/spec"
	"github.com/strakehq/strake/core/userns"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/runtime"
)

// idsFor is how the ids of a container are to be mapped when it starts; nil: not
// at all.
func (m *Manager) idsFor(h *container.HostConfig) *user.IdentityMapping {
	if h.UsernsMode.IsHost() {
		return nil
	}
	return m.cfg.IDs
}

// validateRemapped refuses what a container in a user namespace cannot have.
func (m *Manager) validateRemapped(h *container.HostConfig) error {
	if m.idsFor(h) == nil {
		return nil
	}
	switch {
	case h.Privileged:
		return invalid("privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode")
	case h.NetworkMode.IsHost():
		return invalid("cannot share the host's network namespace when user namespaces are enabled")
	case h.PidMode.IsHost():
		return invalid("cannot share the host PID namespace when user namespaces are enabled")
	case h.IpcMode.IsHost():
		return invalid("cannot share the host IPC namespace when user namespaces are enabled")
	}
	return nil
}

// letIn lets the remapped root pass through a directory of mode 0710, on the way
// to its root file system, and see nothing else there. Without a mapping, root
// alone does, also where there was one before.
func letIn(ids *user.IdentityMapping, dir string) error {
	_, gid := rootOf(ids)
	return os.Chown(dir, 0, gid)
}

// rootOf is who a container's root is on the host.
func rootOf(ids *user.IdentityMapping) (uid, gid int) {
	if ids == nil {
		return 0, 0
	}
	return ids.RootPair()
}

// userNS is the user namespace in which a container is being started. The zero
// value is the daemon's own.
type userNS struct {
	ids *user.IdentityMapping
	// file keeps the namespace until there is a process in it.
	file *os.File
}

// userNS opens the user namespace for a container: that which owns its network
// namespace, of its own or of the container with whom it shares it.
func (m *Manager) userNS(ctx context.Context, r record, rt runtime.Driver, netns string) (userNS, error) {
	ids := m.idsFor(r.Host)
	if ids == nil {
		return userNS{}, nil
	}
	info, err := rt.Info(ctx)
	if err != nil {
		return userNS{}, err
	}
	if !slices.Contains(info.Capabilities, runtime.CapUserNS) {
		return userNS{}, refuse(errdefs.ErrNotImplemented, "the runtime driver %s cannot run containers in user namespaces: use another runtime or --userns=host", r.RuntimeDriver)
	}
	if r.Host.NetworkMode.IsContainer() {
		t, err := m.partner(r.Host.NetworkMode.ConnectedContainer(), "network")
		if err != nil {
			return userNS{}, err
		}
		if t.Run.IDs == nil {
			return userNS{}, invalid("cannot join the network namespace of container %s: it has no user namespace; give this one --userns=host, too", t.ID)
		}
		ids = t.Run.IDs
	}
	f, err := userns.Owner(netns)
	if err != nil {
		return userNS{}, fmt.Errorf("container %s: user namespace: %w", short(r.ID), err)
	}
	return userNS{ids, f}, nil
}

func (u userNS) close() {
	if u.file != nil {
		u.file.Close() //nolint:errcheck,gosec // nothing was written
	}
}

// path is the namespace's file for other processes.
func (u userNS) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), u.file.Fd()) }

// join has the specification say the namespace. Those of other containers can
// be joined when they belong to it.
func (u userNS) join(in *spec.Input) error {
	if u.file == nil {
		return nil
	}
	in.UserNS = &spec.UserNS{Path: u.path(), IDs: *u.ids}
	for kind, path := range in.Joined {
		owner, err := userns.Owner(path)
		if err != nil {
			return err
		}
		same, err := userns.Same(u.file, owner)
		if err = errors.Join(err, owner.Close()); err != nil {
			return err
		}
		if !same {
			return refuse(errdefs.ErrInvalidArgument,
				"cannot join the %s namespace of a container that has another user namespace: join its network as well, or give both --userns=host", kind)
		}
	}
	return nil
}

// mapped has mounts show the owners of files as the namespace maps them.
func (u userNS) mapped(mounts []mount.Mount) []mount.Mount {
	if u.file == nil {
		return mounts
	}
	out := make([]mount.Mount, 0, len(mounts))
	for _, m := range mounts {
		m.Options = append(m.Options[:len(m.Options):len(m.Options)], mount.IDMap+"="+u.path())
		out = append(out, m)
	}
	return out
}

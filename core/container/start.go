package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apimount "github.com/moby/moby/api/types/mount"
	"github.com/moby/sys/user"

	"github.com/strakehq/strake/core/api/httperr"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/trace"
)

// Exit codes of a start that failed, as Docker's.
const (
	codeUnknown       = 128
	codeNotExecutable = 126
	codeNotFound      = 127
)

// Start implements containers.Lifecycle.
func (m *Manager) Start(ctx context.Context, ref string) error {
	u, done, err := m.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer done()
	u.change(func(r *record) { r.Run.Stopped, r.Run.RestartCount = false, 0 })
	u.mu.Lock()
	if u.cancelRestart != nil {
		u.cancelRestart()
	}
	u.mu.Unlock()
	return m.start(ctx, u)
}

// start runs a container's process. It is called with the container's lock
// held. When it fails, nothing is left behind but the reason in the record.
func (m *Manager) start(ctx context.Context, u *unit) (err error) {
	r, err := m.allows(u, opStart)
	if err != nil {
		return err
	}
	ctx, end := trace.Start(ctx, "start container")
	defer func() { end(err) }()
	ctx, cancel := bounded(ctx)
	defer cancel()
	var undone undo
	if err = m.launch(ctx, u, r, &undone); err == nil {
		return nil
	}
	if undoErr := undone.run(ctx); undoErr != nil {
		m.log.Warn("clean up after a failed start", "container", short(r.ID), "err", undoErr)
	}
	code := exitCodeOf(err)
	if code != codeUnknown {
		err = refuse(errdefs.ErrInvalidArgument, "failed to create task for container: %s", plain(err, r.ID))
	}
	r, moveErr := m.move(u, opStartFailed, func(x *run) {
		x.ExitCode, x.Error, x.Pid = code, httperr.Message(err), 0
		x.Network = NetworkState{}
	})
	if moveErr != nil {
		return errors.Join(err, moveErr)
	}
	u.dropPending()
	if r.Host.AutoRemove {
		return errors.Join(err, m.remove(ctx, u, true))
	}
	return errors.Join(err, m.save(r))
}

// plain is an error's message without the name of the container, which the
// user has just given.
func plain(err error, id string) string {
	return strings.ReplaceAll(httperr.Message(err), "container "+id+": ", "")
}

// exitCodeOf tells a command that cannot be run from other failures. The
// runtime driver alone reports errors of these classes behind this prefix.
func exitCodeOf(err error) int {
	var c *commandError
	switch {
	case !errors.As(err, &c):
		return codeUnknown
	case errdefs.IsNotFound(c.err):
		return codeNotFound
	case errdefs.IsPermissionDenied(c.err):
		return codeNotExecutable
	default:
		return codeUnknown
	}
}

// commandError is a refusal of the runtime driver to run the command.
type commandError struct{ err error }

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// launch goes through the steps of a start. The process is created while the
// network is being attached.
func (m *Manager) launch(ctx context.Context, u *unit, r record, undone *undo) error {
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	if err := m.validateRemapped(r.Host); err != nil { // the daemon's configuration may have changed
		return err
	}
	m.follow(r)
	if err := m.clearStale(ctx, u, r); err != nil {
		return err
	}
	undone.push(func(ctx context.Context) error {
		return errors.Join(m.detach(ctx, r), m.unmountShm(r))
	})
	netns, err := m.namespace(ctx, r)
	if err != nil {
		return err
	}
	owner, err := m.userNS(ctx, r, rt, netns)
	if err != nil {
		return err
	}
	defer owner.close()
	made := run{IDs: owner.ids}
	attached := make(chan error, 1)
	go func() { attached <- m.attachNetwork(ctx, r, netns, &made.Network) }()
	made.Handle, err = m.createProcess(ctx, u, r, rt, netns, owner, undone)
	if netErr := <-attached; netErr != nil {
		return netErr
	}
	if err != nil {
		return err
	}
	u.setStarting(&made.Handle)
	defer u.setStarting(nil)
	m.connectPending(ctx, u, rt)
	return m.run(ctx, u, rt, made)
}

// createProcess makes the process up to the point where it waits.
func (m *Manager) createProcess(ctx context.Context, u *unit, r record, rt runtime.Driver, netns string, owner userNS, undone *undo) (h driver.Handle, err error) {
	rootfs, err := m.rootfs(ctx, u, r, owner)
	if err != nil {
		return h, err
	}
	if err := m.bundle(r, rootfs, netns, owner); err != nil {
		return h, err
	}
	log, err := m.logFor(r)
	if err != nil {
		return h, err
	}
	req := runtime.CreateRequest{
		ID: runtime.ContainerID(r.ID), Bundle: m.dir(r.ID), Rootfs: owner.mapped(rootfs), Runtime: r.OCIRuntime,
		IO: runtime.IO{Terminal: r.Config.Tty, Stdin: r.Config.OpenStdin, StdinOnce: r.Config.StdinOnce, Log: log},
	}
	if r.Config.Tty {
		req.IO.Height, req.IO.Width = uint16(r.Host.ConsoleSize[0]), uint16(r.Host.ConsoleSize[1]) //nolint:gosec // cells
	}
	undone.push(func(ctx context.Context) error {
		_, err := rt.Delete(ctx, req.ID, true)
		return err
	})
	ctx, end := trace.Start(ctx, "create process")
	h, _, err = rt.Create(ctx, req)
	end(err)
	if err != nil {
		return h, &commandError{err}
	}
	return h, m.ownHandle(u, r.RuntimeDriver, h)
}

// clearStale repeats the clean-up of a former run that failed.
func (m *Manager) clearStale(ctx context.Context, u *unit, r record) error {
	u.mu.Lock()
	stale := u.stale
	u.mu.Unlock()
	if !stale {
		return nil
	}
	if err := errors.Join(m.forgetRun(ctx, r), m.detach(ctx, r)); err != nil {
		return fmt.Errorf("container %s: clean up the former run: %w", short(r.ID), err)
	}
	u.mu.Lock()
	u.stale = false
	u.mu.Unlock()
	return nil
}

// run lets the process go. Its record is made durable meanwhile: should the
// daemon die in between, the handle in it leads to the truth.
func (m *Manager) run(ctx context.Context, u *unit, rt runtime.Driver, made run) error {
	intended := u.get()
	intended.Run.First = intended.Run.Status == container.StateCreated
	intended.Run.Status, intended.Run.Boot = container.StateRunning, m.boot
	intended.Run.Handle, intended.Run.Network, intended.Run.IDs = made.Handle, made.Network, made.IDs
	intended.Run.StartedAt = time.Now().UTC()
	intended.Run.ExitCode, intended.Run.Error, intended.Run.OOMKilled, intended.Run.Unknown = 0, "", false, false
	saved := make(chan error, 1)
	go func() { saved <- m.save(intended) }()
	sctx, end := trace.Start(ctx, "start process")
	st, err := rt.Start(sctx, runtime.ContainerID(u.id))
	end(err)
	saveErr := <-saved
	if err != nil {
		return &commandError{err}
	}
	if saveErr != nil {
		return saveErr
	}
	r, err := m.move(u, opStart, func(x *run) {
		*x = intended.Run
		x.Pid, x.First = st.Pid, false
		if !st.StartedAt.IsZero() {
			x.StartedAt = st.StartedAt.UTC()
		}
	})
	if err != nil {
		return err
	}
	m.publish(r, events.ActionStart)
	m.startHealth(u, r) //nolint:contextcheck // goes on when the request is over
	return nil
}

// rootfs returns the mounts of the root file system, with the volumes filled
// and the sources of bind mounts in place.
func (m *Manager) rootfs(ctx context.Context, u *unit, r record, owner userNS) (rootfs []mount.Mount, err error) {
	ctx, end := trace.Start(ctx, "mount snapshot")
	defer func() { end(err) }()
	if r.StorageDriver != m.cfg.StorageDriver {
		return nil, refuse(errdefs.ErrFailedPrecondition,
			"container %s was made with the storage driver %q and the daemon runs with %q: configure that one again, or make the container anew",
			short(r.ID), r.StorageDriver, m.cfg.StorageDriver)
	}
	u.mu.Lock()
	rootfs, u.rootfs = u.rootfs, nil
	u.mu.Unlock()
	if rootfs == nil {
		if rootfs, err = m.cfg.Drivers.Storage().Mounts(ctx, r.snapshotKey()); err != nil {
			return nil, err
		}
		root, err := m.ownRoot(r.ID, rootfs)
		if err != nil {
			return nil, err
		}
		u.change(func(r *record) { r.Root = root })
	}
	if err := m.mountShm(r, owner.ids); err != nil {
		return nil, err
	}
	return rootfs, m.prepareMounts(ctx, r, rootfs, owner)
}

// namespace is the path of the network namespace to run in; empty: the host's.
func (m *Manager) namespace(ctx context.Context, r record) (string, error) {
	if r.Host.NetworkMode.IsContainer() {
		t, err := m.partner(r.Host.NetworkMode.ConnectedContainer(), "network")
		return t.Run.Network.NetNS, err
	}
	return m.cfg.Networks.Namespace(ctx, m.networkRequest(r))
}

// attachNetwork joins the networks and writes the files that depend on them.
func (m *Manager) attachNetwork(ctx context.Context, r record, netns string, n *NetworkState) (err error) {
	if r.Host.NetworkMode.IsContainer() {
		n.NetNS = netns
		return nil
	}
	ctx, end := trace.Start(ctx, "attach network")
	defer func() { end(err) }()
	if *n, err = m.cfg.Networks.Attach(ctx, m.networkRequest(r)); err != nil {
		return err
	}
	return m.writeFiles(r, *n)
}

func (m *Manager) networkRequest(r record) NetworkRequest {
	return NetworkRequest{
		ID: r.ID, Name: r.Name, Hostname: r.Config.Hostname, Config: r.Config, Host: r.Host, Endpoints: r.Endpoints,
		IDs: m.idsFor(r.Host),
	}
}

func (m *Manager) detach(ctx context.Context, r record) error {
	if r.Host.NetworkMode.IsContainer() {
		return nil
	}
	return m.cfg.Networks.Detach(ctx, r.ID)
}

// prepareMounts makes missing bind sources and lets fresh volumes take over
// what the image has in their place.
func (m *Manager) prepareMounts(ctx context.Context, r record, rootfs []mount.Mount, owner userNS) error {
	var fresh []mountPoint
	for _, p := range r.Mounts {
		switch p.Type {
		case apimount.TypeBind:
			if err := ensureSource(p, owner.ids); err != nil {
				return err
			}
		case apimount.TypeVolume:
			v, err := m.cfg.Volumes.Use(ctx, p.Name, p.Driver, nil, nil, r.ID)
			if err != nil {
				return err
			}
			if v.Fresh && !p.NoCopy {
				fresh = append(fresh, p)
			}
		default:
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return m.mounted(r, owner.mapped(rootfs), func(root *os.File) error {
		for _, p := range fresh {
			if err := copyUp(root, p); err != nil {
				return fmt.Errorf("volume %s: copy the image's %s: %w", p.Name, p.Destination, err)
			}
		}
		return nil
	})
}

func ensureSource(p mountPoint, ids *user.IdentityMapping) error {
	if !p.CreateSource {
		return checkSource(p)
	}
	if _, err := os.Stat(p.Source); err == nil {
		return nil
	}
	uid, gid := rootOf(ids)
	if err := user.MkdirAllAndChown(p.Source, 0o755, uid, gid, user.WithOnlyNew); err != nil {
		return fmt.Errorf("error while creating mount source path %q: %w", p.Source, err)
	}
	return nil
}

// bundle writes the specification, and makes the files that attachNetwork
// fills, as they are to be mounted.
func (m *Manager) bundle(r record, rootfs []mount.Mount, netns string, owner userNS) error {
	if err := m.touchFiles(r, owner.ids); err != nil {
		return err
	}
	user, err := m.resolveUser(r, rootfs)
	if err != nil {
		return err
	}
	in, err := m.input(r, netns, user)
	if err != nil {
		return err
	}
	if err := owner.join(&in); err != nil {
		return err
	}
	s, warnings, err := m.specs.Build(in)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		m.log.Warn(w, "container", short(r.ID))
	}
	return m.writeSpec(r, s)
}

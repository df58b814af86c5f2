package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/spec"
)

// joinNamespaces adds the namespaces of other containers, and what goes with
// a shared IPC namespace: /dev/shm.
func (m *Manager) joinNamespaces(r record, in *spec.Input) error {
	in.Joined = map[specs.LinuxNamespaceType]string{}
	if r.Host.PidMode.IsContainer() {
		t, err := m.partner(r.Host.PidMode.Container(), "PID")
		if err != nil {
			return err
		}
		in.Joined[specs.PIDNamespace] = fmt.Sprintf("/proc/%d/ns/pid", t.Run.Pid)
	}
	shm := ""
	switch mode := r.Host.IpcMode; {
	case mode.IsContainer():
		t, err := m.partner(mode.Container(), "IPC")
		if err != nil {
			return err
		}
		if !t.Host.IpcMode.IsShareable() && !t.Host.IpcMode.IsHost() {
			return invalid("invalid IPC mode: %s: can't join IPC of container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", mode, t.ID)
		}
		in.Joined[specs.IPCNamespace] = fmt.Sprintf("/proc/%d/ns/ipc", t.Run.Pid)
		shm = m.shmPath(t)
	case mode.IsHost(), mode.IsShareable():
		shm = m.shmPath(r)
	}
	if shm != "" && !hasMount(r.Mounts, "/dev/shm") {
		in.Mounts = append(in.Mounts, spec.Mount{Source: shm, Destination: "/dev/shm"})
	}
	return nil
}

// partner is another container whose namespace is to be joined: it must run.
func (m *Manager) partner(id, what string) (record, error) {
	u, err := m.find(id)
	if err != nil {
		return record{}, err
	}
	r := u.get()
	if !alive(r.Run.Status) {
		return r, refuse(errdefs.ErrConflict, "cannot join %s namespace of a non running container: %s", what, r.ID)
	}
	return r, nil
}

// shmPath is the directory on the host behind a shared /dev/shm.
func (m *Manager) shmPath(r record) string {
	if r.Host.IpcMode.IsHost() {
		return "/dev/shm"
	}
	return filepath.Join(m.cfg.RunDir, "shm", r.ID)
}

// mountShm makes the tmpfs of a container whose IPC namespace others may join.
// It must be found by them, so it is the one mount that the host sees.
func (m *Manager) mountShm(r record, ids *user.IdentityMapping) error {
	if !r.Host.IpcMode.IsShareable() {
		return nil
	}
	dir := m.shmPath(r)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("container %s: /dev/shm: %w", short(r.ID), err)
	}
	flags := uintptr(unix.MS_NOEXEC | unix.MS_NOSUID | unix.MS_NODEV)
	uid, gid := rootOf(ids)
	if err := unix.Mount("shm", dir, "tmpfs", flags, fmt.Sprintf("mode=1777,size=%d,uid=%d,gid=%d", r.Host.ShmSize, uid, gid)); err != nil {
		return fmt.Errorf("container %s: /dev/shm: mount: %w", short(r.ID), err)
	}
	return nil
}

func (m *Manager) unmountShm(r record) error {
	if !r.Host.IpcMode.IsShareable() {
		return nil
	}
	dir := m.shmPath(r)
	for {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("container %s: /dev/shm: unmount: %w", short(r.ID), err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("container %s: /dev/shm: %w", short(r.ID), err)
	}
	return nil
}

// initProgram finds the program that --init puts in front. It must be static,
// for it runs on the container's files.
func (m *Manager) initProgram() (string, error) {
	if m.cfg.InitPath != "" {
		return m.cfg.InitPath, nil
	}
	for _, name := range []string{"strake-init", "tini-static", "docker-init"} {
		for _, dir := range m.cfg.Libexec {
			if p := filepath.Join(dir, name); isProgram(p) {
				return p, nil
			}
		}
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", refuse(errdefs.ErrFailedPrecondition,
		"--init: no init program found (looked for strake-init, tini-static and docker-init): install one, for example with \"apt-get install tini\", or set init_path in the daemon's configuration")
}

func isProgram(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

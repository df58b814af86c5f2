// Package userns maps the ids of containers to subordinate ids of the host, as
// subuid(5) hands them out, and makes the user namespaces that do so.
package userns

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// defaultUser is whose ids "default" stands for, Docker's.
const defaultUser = "dockremap"

// afterLast is the id that is none. The kernel takes the lower 32 bits of any
// number: those of 1<<32 are root's.
const afterLast = 1<<32 - 1

// Load finds the mapping that a user's lines in /etc/subuid and /etc/subgid come
// to. The value is that of Docker's userns-remap: "default", a user, or
// user:group, by names or numbers; the group must exist and counts for nothing
// else, as with Docker. An empty value is no mapping: nil.
func Load(value string) (*user.IdentityMapping, error) {
	if value == "" {
		return nil, nil
	}
	name, group, hasGroup := strings.Cut(value, ":")
	if name == "default" {
		name = defaultUser
	}
	u, err := lookupUser(name)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w; make one with \"useradd --system %s\"", name, err, name)
	}
	if hasGroup {
		if err := lookupGroup(group); err != nil {
			return nil, fmt.Errorf("group %q: %w", group, err)
		}
	}
	ids, err := user.LoadIdentityMapping(u.Name)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w; give it some with \"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s\", in ranges that nobody has", u.Name, err, u.Name)
	}
	for _, m := range append(ids.UIDMaps[:len(ids.UIDMaps):len(ids.UIDMaps)], ids.GIDMaps...) {
		if m.ParentID <= 0 || m.Count <= 0 || m.Count > afterLast-m.ParentID {
			return nil, fmt.Errorf("user %q: %d ids from %d on in /etc/subuid or /etc/subgid cannot be given away", u.Name, m.Count, m.ParentID)
		}
	}
	return &ids, nil
}

func lookupUser(name string) (user.User, error) {
	u, err := user.LookupUser(name)
	if id, e := strconv.Atoi(name); err != nil && e == nil {
		return user.LookupUid(id)
	}
	return u, err
}

func lookupGroup(name string) error {
	_, err := user.LookupGroup(name)
	if id, e := strconv.Atoi(name); err != nil && e == nil {
		_, err = user.LookupGid(id)
	}
	return err
}

// Make makes a user namespace with the mapping, and further namespaces (CLONE_*)
// that it owns. They exist while f runs, and longer if f keeps them: pid is a
// process in them that does nothing. Call it on a locked thread.
func Make(ids user.IdentityMapping, namespaces uintptr, f func(pid int) error) (err error) {
	// Traced, it stops before its first instruction.
	p, err := os.StartProcess("/proc/self/exe", []string{"user namespace"}, &os.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{
		Ptrace: true, Pdeathsig: unix.SIGKILL, Cloneflags: unix.CLONE_NEWUSER | namespaces,
		UidMappings: sysMaps(ids.UIDMaps), GidMappings: sysMaps(ids.GIDMaps), GidMappingsEnableSetgroups: true,
	}})
	if err != nil {
		return fmt.Errorf("user namespace: %w", err)
	}
	defer func() {
		if kerr := p.Kill(); kerr != nil {
			err = errors.Join(err, fmt.Errorf("user namespace: end its process: %w", kerr))
			return
		}
		err = errors.Join(err, reap(p.Pid), p.Release())
	}()
	return f(p.Pid)
}

// reap waits for the end of a child that may be seen to stop before.
func reap(pid int) error {
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("user namespace: wait for its process: %w", err)
		case ws.Exited() || ws.Signaled():
			return nil
		}
	}
}

func sysMaps(maps []user.IDMap) (out []syscall.SysProcIDMap) {
	for _, m := range maps {
		out = append(out, syscall.SysProcIDMap{ContainerID: int(m.ID), HostID: int(m.ParentID), Size: int(m.Count)})
	}
	return out
}

// Mappings are the mapping in the words of the OCI runtime specification.
func Mappings(maps []user.IDMap) (out []specs.LinuxIDMapping) {
	for _, m := range maps {
		out = append(out, specs.LinuxIDMapping{ContainerID: uint32(m.ID), HostID: uint32(m.ParentID), Size: uint32(m.Count)}) //nolint:gosec // ids
	}
	return out
}

// Owner opens the user namespace that owns the namespace with the given file.
func Owner(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("namespace %s: find its owner: %w", path, err)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), path+" (owner)"), nil
}

// Same says whether two files are of the same namespace.
func Same(a, b *os.File) (bool, error) {
	x, err := a.Stat()
	if err != nil {
		return false, err
	}
	y, err := b.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(x, y), nil
}

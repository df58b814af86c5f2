package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/spec"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

// withRootfs mounts a root file system for the moment of f, in a mount
// namespace that ends with it: nothing can stay mounted, whoever is killed.
// dir is an empty directory to mount at.
func withRootfs(dir string, mounts []mount.Mount, f func(root *os.File) error) error {
	result := make(chan error, 1)
	go func() {
		// The thread is not unlocked: it ends with this goroutine, and its
		// namespace with it.
		runtime.LockOSThread()
		result <- inNamespace(dir, mounts, f)
	}()
	return <-result
}

func inNamespace(dir string, mounts []mount.Mount, f func(root *os.File) error) (err error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := mount.All(mounts, dir); err != nil {
		return err
	}
	return withDir(dir, f)
}

func withDir(dir string, f func(root *os.File) error) (err error) {
	root, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return f(root)
}

// openIn opens a path as a process would whose root that is: links, absolute
// ones too, stay inside.
func openIn(root *os.File, path string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(root.Fd()), path, &unix.OpenHow{
		Flags: flags | unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// maxAccounts bounds how much of a passwd or group file is read.
const maxAccounts = 4 << 20

// accounts are the contents of /etc/passwd and /etc/group; nil when missing.
type accounts struct{ passwd, group []byte }

func readAccounts(root *os.File) (a accounts, err error) {
	if a.passwd, err = readAccount(root, "etc/passwd"); err != nil {
		return a, err
	}
	a.group, err = readAccount(root, "etc/group")
	return a, err
}

func readAccount(root *os.File, name string) (b []byte, err error) {
	f, err := openIn(root, name, unix.O_NONBLOCK)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, err
	}
	b, err = io.ReadAll(io.LimitReader(f, maxAccounts))
	if err != nil {
		return nil, fmt.Errorf("read /%s: %w", name, err)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// userCache remembers accounts of images, so that the usual start mounts
// nothing.
type userCache struct {
	mu sync.Mutex
	by map[storage.SnapshotKey]accounts // guarded by mu
}

func newUserCache() *userCache { return &userCache{by: map[storage.SnapshotKey]accounts{}} }

const userCacheSize = 64

func (c *userCache) get(k storage.SnapshotKey) (accounts, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.by[k]
	return a, ok
}

func (c *userCache) put(k storage.SnapshotKey, a accounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.by) >= userCacheSize {
		clear(c.by)
	}
	c.by[k] = a
}

// resolveUser finds the ids of the container's user. On the first start the
// root file system is the image's, whose accounts are remembered; later it is
// looked at anew, since the container may have added users.
func (m *Manager) resolveUser(r record, mounts []mount.Mount) (specs.User, error) {
	var a accounts
	if !spec.NumericUser(r.Config.User, r.Host.GroupAdd) {
		first := r.Run.StartedAt.IsZero()
		var ok bool
		if first {
			a, ok = m.users.get(r.Chain)
		}
		if !ok {
			err := m.mounted(r, mounts, func(root *os.File) (err error) {
				a, err = readAccounts(root)
				return err
			})
			if err != nil {
				return specs.User{}, fmt.Errorf("container %s: look up user: %w", short(r.ID), err)
			}
			if first {
				m.users.put(r.Chain, a)
			}
		}
	}
	return spec.ResolveUser(r.Config.User, r.Host.GroupAdd, a.passwd, a.group)
}

// mounted gives access to the files of a container that does not run.
func (m *Manager) mounted(r record, mounts []mount.Mount, f func(root *os.File) error) error {
	return withRootfs(m.file(r.ID, "rootfs"), mounts, f)
}

// accountsInside reads the accounts of a running container.
func accountsInside(pid int) (a accounts, err error) {
	err = withDir(fmt.Sprintf("/proc/%d/root", pid), func(root *os.File) (err error) {
		a, err = readAccounts(root)
		return err
	})
	return a, err
}

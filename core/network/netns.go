package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/moby/sys/mountinfo"
	"github.com/moby/sys/user"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/userns"
	"github.com/strakehq/strake/sdk/mishap"
)

// pins keeps network namespaces alive by bind mounts in a directory.
type pins struct {
	dir   string
	ahead ahead
}

func (p *pins) path(id string) string { return filepath.Join(p.dir, id) }

// open makes the directory a shared mount of its own, as ip-netns(8) does: a
// mount namespace copied from ours then sees a pin come and, above all, go,
// where a private copy would keep the namespace alive.
func (p *pins) open() error {
	mounted, err := mountinfo.Mounted(p.dir)
	if err != nil {
		return fmt.Errorf("directory of network namespaces %s: %w", p.dir, err)
	}
	if !mounted {
		if err := unix.Mount(p.dir, p.dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("directory of network namespaces %s: bind: %w", p.dir, err)
		}
	}
	if err := unix.Mount("", p.dir, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("directory of network namespaces %s: share: %w", p.dir, err)
	}
	return nil
}

// close undoes open when nothing is pinned.
func (p *pins) close() error {
	p.ahead.close()
	entries, err := os.ReadDir(p.dir)
	if err != nil || len(entries) > 0 {
		return err
	}
	err = unix.Unmount(p.dir, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) {
		return nil // not mounted
	}
	return err
}

// make makes a namespace with its loopback interface up and pins it. One that
// is pinned already is kept. With ids, it belongs to a new user namespace that
// maps these, which lives as long as it does.
func (p *pins) make(id string, ids *user.IdentityMapping) error {
	path := p.path(id)
	if isNetNS(path) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	mishap.Hit(mishap.NetNSFile)
	if err := p.fill(path, ids); err != nil {
		return errors.Join(fmt.Errorf("network namespace %s: make: %w", path, err), os.Remove(path))
	}
	return nil
}

// fill pins a new namespace at the file path.
func (p *pins) fill(path string, ids *user.IdentityMapping) error {
	if ids == nil {
		if ready := p.ahead.take(); ready != nil {
			return errors.Join(pin(ready, path), ready.Close())
		}
	}
	return onThread(func() error {
		if ids != nil {
			return newOwnedNetNS(path, *ids)
		}
		return newNetNS(path)
	})
}

// onThread runs f on a thread of its own, which ends with it and with whatever
// namespace it is in by then.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// loopbackIndex is the index of lo in every namespace.
const loopbackIndex = 1

func newNetNS(path string) error {
	if err := unshareNetNS(); err != nil {
		return err
	}
	return pinOwn(path)
}

// unshareNetNS puts the thread into a new namespace.
func unshareNetNS() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return setUp()
}

// newOwnedNetNS makes both namespaces by way of a process: a thread cannot leave
// the user namespace of its process.
func newOwnedNetNS(path string, ids user.IdentityMapping) error {
	return userns.Make(ids, unix.CLONE_NEWNET, func(pid int) (err error) {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		defer func() { err = errors.Join(err, unix.Close(fd)) }()
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		if err := setUp(); err != nil {
			return err
		}
		return pinOwn(path)
	})
}

func setUp() error {
	lo := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: loopbackIndex}}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set up lo: %w", err)
	}
	return nil
}

// ownNetNS is the namespace of the calling thread.
const ownNetNS = "/proc/thread-self/ns/net"

func pinOwn(path string) error { return bind(ownNetNS, path) }

func pin(ns *os.File, path string) error { return bind(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), path) }

func bind(ns, path string) error {
	if err := unix.Mount(ns, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	mishap.Hit(mishap.NetNSPinned)
	return nil
}

// remove unpins a namespace; one that is gone is no error. It ends when no
// process is in it.
func (p *pins) remove(id string) error {
	path := p.path(id)
	err := unix.Unmount(path, unix.MNT_DETACH)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: not mounted
		return fmt.Errorf("network namespace %s: unpin: %w", path, err)
	}
	mishap.Hit(mishap.NetNSUnpinned)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network namespace %s: remove: %w", path, err)
	}
	return nil
}

// sweep removes the pins that are not to be kept.
func (p *pins) sweep(keep map[string]bool) error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !keep[e.Name()] {
			errs = append(errs, p.remove(e.Name()))
		}
	}
	return errors.Join(errs...)
}

func isNetNS(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

package archive

import (
	"container/list"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// openDirsMax bounds the descriptors that one Unpack holds.
const openDirsMax = 128

// dirent is an open directory inside the root.
type dirent struct {
	fd       int
	ino      uint64
	mode     uint32 // permissions and set-id bits
	uid, gid uint32
	name     string        // by which it was found last
	place    *list.Element // in the cache's order
}

// setgid says that new files take the directory's group.
func (d *dirent) setgid() bool { return d.mode&unix.S_ISGID != 0 }

// path names the directory for calls that take no descriptor.
func (d *dirent) path() string { return fdPath(d.fd) }

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// dirCache resolves names to directories, and remembers the ones used last.
type dirCache struct {
	root  *dirent
	open  map[string]*dirent
	order *list.List // of the open ones, the last used first
	// leave is called with a directory in which nothing happens any more by
	// way of this descriptor.
	leave func(*dirent) error
	// dropped were forgotten while perhaps in use; sweep closes them.
	dropped []*dirent
}

func openDirs(root string) (*dirCache, error) {
	fd, err := openDir(root)
	if err != nil {
		return nil, err
	}
	d, err := newDirent(fd)
	if err != nil {
		return nil, err
	}
	return &dirCache{root: d, open: map[string]*dirent{}, order: list.New()}, nil
}

// newDirent takes fd over, also when it fails.
func newDirent(fd int) (*dirent, error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return nil, errors.Join(fmt.Errorf("stat: %w", err), unix.Close(fd))
	}
	return &dirent{fd: fd, ino: st.Ino, mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid}, nil
}

// find resolves name to an existing directory, as in a process whose root is
// the destination.
func (c *dirCache) find(name string) (*dirent, error) {
	if d := c.known(name); d != nil {
		return d, nil
	}
	fd, err := openInRoot(c.root.fd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return c.put(name, fd)
}

// known returns the directory if it is open already, else nil.
func (c *dirCache) known(name string) *dirent {
	if name == "." {
		return c.root
	}
	d, ok := c.open[name]
	if !ok {
		return nil
	}
	c.order.MoveToFront(d.place)
	return d
}

// child opens base in dir, not following a symbolic link, as name.
func (c *dirCache) child(dir *dirent, name, base string) (*dirent, error) {
	fd, err := openRetry(func() (int, error) {
		return unix.Openat(dir.fd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return c.put(name, fd)
}

func (c *dirCache) put(name string, fd int) (*dirent, error) {
	d, err := newDirent(fd)
	if err != nil {
		return nil, err
	}
	if old, ok := c.open[name]; ok {
		c.drop(old)
	} else if len(c.open) >= openDirsMax {
		c.drop(c.order.Back().Value.(*dirent)) //nolint:forcetypeassert // put puts nothing else in
	}
	d.name, d.place = name, c.order.PushFront(d)
	c.open[name] = d
	return d, nil
}

func (c *dirCache) drop(d *dirent) {
	c.dropped = append(c.dropped, d)
	c.order.Remove(d.place)
	delete(c.open, d.name)
}

// forget drops all names: one of them may have led through something that is
// gone.
func (c *dirCache) forget() {
	for _, d := range c.open {
		c.drop(d)
	}
}

// sweep closes dropped directories. No directory from before may be used
// after it.
func (c *dirCache) sweep() error {
	var errs []error
	for _, d := range c.dropped {
		if c.leave != nil {
			errs = append(errs, c.leave(d))
		}
		errs = append(errs, unix.Close(d.fd))
	}
	c.dropped = c.dropped[:0]
	return errors.Join(errs...)
}

// close closes all, without leaving them in order.
func (c *dirCache) close() error {
	c.leave = nil
	c.forget()
	return errors.Join(c.sweep(), unix.Close(c.root.fd))
}

// openInRoot opens name below the directory root and never anything else:
// absolute links and ".." end at root.
func openInRoot(root int, name string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	return openAt2(root, name, &how)
}

// againMax bounds the retries after EAGAIN, which openat2 returns when a rename
// anywhere on the system ran beside the resolution of "..".
const againMax = 10000

func openAt2(dir int, name string, how *unix.OpenHow) (int, error) {
	for i := 0; ; i++ {
		fd, err := unix.Openat2(dir, name, how)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) && i < againMax {
			continue
		}
		if errors.Is(err, unix.ENOSYS) {
			return -1, fmt.Errorf("openat2: %w: layers cannot be unpacked safely before Linux 5.6", err)
		}
		return fd, err
	}
}

func openRetry(open func() (int, error)) (int, error) {
	for {
		fd, err := open()
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

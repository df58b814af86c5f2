// Package link makes bridges and veth pairs over netlink, in the network
// namespace of the process.
//
// Every link carries an alias that names its owner, so that leftovers can be
// told from other people's links.
package link

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoBridge: the bridge that a link should join is missing.
var ErrNoBridge = errors.New("bridge is missing")

// Links works on the links of one owner. It is safe for concurrent use.
type Links struct {
	host *netlink.Handle
	// alias begins the alias of each link of this owner.
	alias string
}

// Open connects to the kernel. owner sets the links of several drivers in one
// namespace apart.
func Open(owner string) (*Links, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: connect: %w", err)
	}
	return &Links{host: h, alias: "strake:" + owner + ":"}, nil
}

// Close closes the connection.
func (l *Links) Close() { l.host.Close() }

// Owned returns the names of all links of this owner, with what follows the
// owner in their aliases.
func (l *Links) Owned() (map[string]string, error) {
	all, err := l.host.LinkList()
	if err != nil {
		return nil, fmt.Errorf("links: list: %w", err)
	}
	out := map[string]string{}
	for _, k := range all {
		if rest, ok := strings.CutPrefix(k.Attrs().Alias, l.alias); ok {
			out[k.Attrs().Name] = rest
		}
	}
	return out, nil
}

// Delete removes a link by name; one that is gone is no error. The kernel
// takes some 30 ms for it.
func (l *Links) Delete(name string) error {
	k, err := l.find(name)
	if err != nil || k == nil {
		return err
	}
	if err := l.host.LinkDel(k); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("link %s: delete: %w", name, err)
	}
	return nil
}

// find returns nil without error when there is no such link.
func (l *Links) find(name string) (netlink.Link, error) {
	k, err := l.host.LinkByName(name)
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", name, err)
	}
	return k, nil
}

// Routes returns the IPv4 prefixes of the host's routes and addresses, save
// default routes and those of the bridge except.
func (l *Links) Routes(except string) ([]netip.Prefix, error) {
	var skip int
	if k, err := l.find(except); err != nil {
		return nil, err
	} else if k != nil {
		skip = k.Attrs().Index
	}
	routes, err := l.host.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("routes: list: %w", err)
	}
	var out []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil || r.LinkIndex == skip {
			continue
		}
		if p, ok := prefix(r.Dst); ok && p.Bits() > 0 {
			out = append(out, p)
		}
	}
	return out, nil
}

// Sysctl writes one of the namespace's settings below /proc/sys/net when it
// differs, and returns what it was.
func Sysctl(path, value string) (was string, err error) {
	name := filepath.Join("/proc/sys/net", path)
	data, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	if was = strings.TrimSpace(string(data)); was == value {
		return was, nil
	}
	if err := os.WriteFile(name, []byte(value), 0); err != nil {
		return was, fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return was, nil
}

// openNetNS opens a pinned network namespace; ErrNotFound when the path is no
// namespace (any more).
func openNetNS(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return -1, fmt.Errorf("network namespace %s: gone: %w", path, errdefs.ErrNotFound)
	}
	if err != nil {
		return -1, fmt.Errorf("network namespace %s: open: %w", path, err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return -1, errors.Join(fmt.Errorf("network namespace %s: %w", path, err), unix.Close(fd))
	}
	if st.Type != unix.NSFS_MAGIC {
		return -1, errors.Join(fmt.Errorf("network namespace %s: not pinned there (any more): %w", path, errdefs.ErrNotFound), unix.Close(fd))
	}
	return fd, nil
}

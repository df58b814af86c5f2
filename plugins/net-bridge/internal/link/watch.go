package link

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Port is how a link of the host is.
type Port struct {
	Index, Master int
	Up            bool
}

// Ports returns those links of the host that have the names and exist.
func (l *Links) Ports(names ...string) (map[string]Port, error) {
	out := map[string]Port{}
	for _, name := range names {
		k, err := l.host.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("link %s: %w", name, err)
		}
		out[name] = port(k)
	}
	return out, nil
}

func port(k netlink.Link) Port {
	return Port{Index: k.Attrs().Index, Master: k.Attrs().MasterIndex, Up: k.Attrs().Flags&net.FlagUp != 0}
}

// Change is what the kernel told of a link.
type Change struct {
	Port
	Name string
	Gone bool
}

// Watch wakes changed, without waiting for it, after every change that matters
// to the caller, until ctx ends.
func (l *Links) Watch(ctx context.Context, matters func(Change) bool, changed chan<- struct{}) error {
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	defer close(done)
	failed := make(chan error, 1)
	note := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ErrorCallback: note}); err != nil {
		return fmt.Errorf("links: watch: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("links: watch: %w", err)
		case u, ok := <-updates:
			if !ok {
				return fmt.Errorf("links: watch: the kernel ended it: %w", net.ErrClosed)
			}
			c := Change{Port: port(u), Name: u.Attrs().Name, Gone: u.Header.Type == unix.RTM_DELLINK && u.Family != unix.AF_BRIDGE}
			if !matters(c) {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
}

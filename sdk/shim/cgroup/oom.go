package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OOMKills counts the processes that the kernel killed for memory; 0 when it
// does not tell.
func (g Group) OOMKills() uint64 {
	if g.Memory == "" {
		return 0
	}
	b, err := os.ReadFile(filepath.Join(g.Memory, g.oomFile()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
			if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				return n
			}
		}
	}
	return 0
}

func (g Group) oomFile() string {
	if g.V2 {
		return "memory.events"
	}
	return "memory.oom_control"
}

// WatchOOM calls struck after each kill for memory, until the file that it
// returns is closed. It is nil when there is nothing to watch.
func (g Group) WatchOOM(struck func()) (*os.File, error) {
	if g.Memory == "" {
		return nil, nil
	}
	open := g.eventFD
	if g.V2 {
		open = g.inotify
	}
	f, err := open()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", g.Memory, err)
	}
	go g.watch(f, struck)
	return f, nil
}

func (g Group) watch(f *os.File, struck func()) {
	var buf [512]byte
	for last := g.OOMKills(); ; {
		if _, err := f.Read(buf[:]); err != nil {
			return
		}
		now := g.OOMKills()
		if now > last || !g.V2 && g.exists() {
			struck()
		}
		last = now
	}
}

// inotify watches memory.events, which the kernel marks as modified.
func (g Group) inotify() (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, filepath.Join(g.Memory, g.oomFile()), unix.IN_MODIFY); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (g Group) exists() bool {
	_, err := os.Stat(g.Memory)
	return err == nil
}

// eventFD registers for version 1's notification. It comes just before a kill,
// so the counter does not show it yet; and when the cgroup is removed.
func (g Group) eventFD() (*os.File, error) {
	control, err := os.Open(filepath.Join(g.Memory, g.oomFile()))
	if err != nil {
		return nil, err
	}
	defer control.Close() //nolint:errcheck // opened for reading
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "eventfd")
	line := fmt.Sprintf("%d %d", fd, control.Fd())
	if err := os.WriteFile(filepath.Join(g.Memory, "cgroup.event_control"), []byte(line), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

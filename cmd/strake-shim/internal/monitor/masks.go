package monitor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// checkMasks refuses a container of which a masked path shows something, before
// anything of it has run. The runtime masks a file by what is at /dev/null of the
// container. runc before 1.2.8 does not look whether that is the null device, which
// an image with a volume at /dev decides, or a process in another container that
// writes to what is mounted there (CVE-2025-31133). The same holds for the terminal
// at /dev/console (CVE-2025-52565). Once the runtime has done its work, nobody can
// change what is mounted where.
func (c *Container) checkMasks(p *process) error {
	pid, err := p.readPid()
	if err != nil {
		return internal(err)
	}
	root, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return nil // it has ended, and will not run
	}
	if err != nil {
		return internal(fmt.Errorf("the container's root: %w", err))
	}
	defer unix.Close(root) //nolint:errcheck // it was only looked at
	for _, path := range c.conf.Masked {
		if shows, err := look(root, path, isNull); err != nil {
			return internal(fmt.Errorf("masked path %s: %w", path, err))
		} else if shows {
			return precondition("masked path " + path + " shows something: /dev/null of the container is not the null device when it is created, see what is mounted there")
		}
	}
	if !c.conf.IO.Terminal {
		return nil
	}
	if shows, err := look(root, "/dev/console", isTerminal); err != nil {
		return internal(fmt.Errorf("/dev/console: %w", err))
	} else if shows {
		return precondition("/dev/console is not the container's terminal when it is created: see what is mounted at /dev")
	}
	return nil
}

// look says whether a path below root is something else than nothing, an empty
// directory, or a device that may be there.
func look(root int, path string, may func(device uint64) bool) (bool, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(root, strings.TrimPrefix(path, "/"), &how)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd) //nolint:errcheck // it was only looked at
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return filled(fd)
	case unix.S_IFCHR:
		return !may(st.Rdev), nil
	default:
		return true, nil
	}
}

func filled(dir int) (bool, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	f := os.NewFile(uintptr(fd), "directory")
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return false, f.Close()
	}
	return err == nil, errors.Join(err, f.Close())
}

func isNull(device uint64) bool { return device == unix.Mkdev(1, 3) }

// isTerminal knows the majors of Unix98 pseudo-terminals.
func isTerminal(device uint64) bool {
	major := unix.Major(device)
	return major >= 136 && major <= 143
}

package runc

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/shim/wire"
)

// shims finds the processes of containers' shims by their arguments, which works
// for those that hang, too: pid → container's directory.
func shims() (map[int]string, error) {
	return programs(func(mode, _ string) bool { return mode != wire.Vacant })
}

// spares finds the processes of spares for a directory.
func spares(dir string) (map[int]string, error) {
	return programs(func(mode, room string) bool { return mode == wire.Vacant && filepath.Dir(room) == dir })
}

// programs finds processes of strake-shim by their arguments: pid → path.
func programs(want func(mode, path string) bool) (map[int]string, error) {
	return processes(func(argv []string) string {
		if len(argv) >= 4 && argv[0] == "strake-shim" && want(argv[1], argv[2]) {
			return argv[2]
		}
		return ""
	})
}

// processes finds those whose arguments lead to a path: pid → path.
func processes(path func(argv []string) string) (map[int]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	found := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // ended
		}
		if p := path(strings.Split(string(b), "\x00")); p != "" {
			found[pid] = p
		}
	}
	return found, nil
}

// killShimsOf kills the shims of a container, and then what they have begun.
func killShimsOf(dir string) error {
	found, err := shims()
	maps.DeleteFunc(found, func(_ int, d string) bool { return d != dir })
	return errors.Join(err, killShims(found), killRuntimesOf(dir))
}

// killRuntimesOf kills the OCI runtimes that are at work for a container whose
// shim is gone. They go on without it, and would make what was just removed.
func killRuntimesOf(dir string) error {
	found, err := processes(func(argv []string) string {
		if i := slices.Index(argv, "--pid-file"); i > 0 && i+1 < len(argv) && strings.HasPrefix(argv[i+1], dir+"/") {
			return argv[i+1]
		}
		return ""
	})
	for pid := range found {
		err = errors.Join(err, killProcess(pid))
	}
	return err
}

// killShims kills those of the shims that are still there.
func killShims(those map[int]string) error {
	now, err := shims()
	return errors.Join(err, killSame(those, now))
}

// killSpares kills the spares for a directory.
func killSpares(dir string) error {
	found, err := spares(dir)
	if err != nil || len(found) == 0 {
		return err
	}
	now, err := spares(dir)
	return errors.Join(err, killSame(found, now))
}

// killSame kills those that are the same now. A pid may be another process's.
func killSame(those, now map[int]string) (err error) {
	for pid, path := range those {
		if now[pid] == path {
			err = errors.Join(err, killProcess(pid))
		}
	}
	return err
}

// killProcess kills a process and waits until it has ended.
func killProcess(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		err = nil
	}
	if err == nil {
		err = awaitEnd(fd, time.Now().Add(killWithin))
	}
	return errors.Join(err, unix.Close(fd))
}

// killWithin is how long a killed process may take to end.
const killWithin = 5 * time.Second

// awaitEnd waits for the end of the process of a pidfd, through interruptions.
func awaitEnd(fd int, until time.Time) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(p, int(max(0, time.Until(until)).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

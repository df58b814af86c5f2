package testkit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// WithCrun makes /sys/fs/cgroup/hugetlb exist while the test runs: Debian's crun
// does not start without it on hosts with cgroup v1. Tests of several processes
// share it; the last one takes it away.
func WithCrun() Option {
	return func(h *Host) {
		if _, err := os.Stat("/sys/fs/cgroup/memory"); err != nil {
			return // cgroup v2
		}
		if data, err := os.ReadFile("/proc/self/mountinfo"); err == nil && strings.Contains(string(data), " "+hugetlb+" ") && !strings.Contains(string(data), hugetlbSource) {
			return // the machine's own
		}
		lock, err := os.OpenFile(filepath.Join(os.TempDir(), hugetlbSource+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_SH), mountHugetlb())
		}
		if err != nil {
			h.tb.Fatalf("mount %s: %v", hugetlb, err)
		}
		h.tb.Cleanup(func() {
			defer lock.Close()
			if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
				return // somebody else still needs it
			}
			if err := errors.Join(syscall.Unmount(hugetlb, 0), os.Remove(hugetlb)); err != nil {
				h.tb.Errorf("clean up: %v", err)
			}
		})
	}
}

const (
	hugetlb = "/sys/fs/cgroup/hugetlb"
	// hugetlbSource tells the tests' mount from the machine's.
	hugetlbSource = "strake-test-hugetlb"
)

func mountHugetlb() error {
	if err := os.Mkdir(hugetlb, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(hugetlb, &st); err != nil || st.Type == unix.CGROUP_SUPER_MAGIC {
		return err
	}
	if err := syscall.Mount(hugetlbSource, hugetlb, "cgroup", 0, "hugetlb"); err != nil && !errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

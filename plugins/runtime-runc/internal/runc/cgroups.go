package runc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// cgroupMounts are the mount points of all cgroup hierarchies.
func cgroupMounts() ([]string, error) {
	infos, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	var points []string
	for _, i := range infos {
		points = append(points, i.Mountpoint)
	}
	return points, err
}

// removeCgroups kills what is left in a container's cgroups and removes them.
// Only a path whose last element names the container is the container's own;
// what systemd makes is systemd's to remove.
func removeCgroups(ctx context.Context, path, id string) error {
	if !strings.HasPrefix(path, "/") || !strings.Contains(filepath.Base(path), id) {
		return nil
	}
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		errs = append(errs, removeCgroup(ctx, filepath.Join(m, path)))
	}
	return errors.Join(errs...)
}

// removeCgroup kills and removes until the kernel has let go of everything.
func removeCgroup(ctx context.Context, dir string) error {
	for {
		err := killCgroup(dir)
		if err == nil {
			err = removeTree(dir)
		}
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("cgroup %s: %w", dir, err)
		}
	}
}

func killCgroup(dir string) error {
	pids, err := processes(dir)
	for _, pid := range pids {
		if kerr := unix.Kill(pid, unix.SIGKILL); kerr != nil && !errors.Is(kerr, unix.ESRCH) {
			err = errors.Join(err, kerr)
		}
	}
	if len(pids) > 0 { // the frozen of version 1 cannot die
		if terr := os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0); terr != nil && !errors.Is(terr, fs.ErrNotExist) && !errors.Is(terr, fs.ErrPermission) {
			err = errors.Join(err, terr)
		}
	}
	return err
}

// removeTree removes a cgroup and those below it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// processes are the pids in a cgroup and those below it.
func processes(dir string) (pids []int, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !e.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		for f := range strings.FieldsSeq(string(b)) {
			pid, perr := strconv.Atoi(f)
			err = errors.Join(err, perr)
			pids = append(pids, pid)
		}
		return err
	})
	return pids, err
}

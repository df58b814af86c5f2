package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Named returns the directories, in all hierarchies, of a cgroupsPath that
// names the container id in its last element. Other paths, such as those that
// systemd rules, have none.
func Named(path, id string) ([]string, error) {
	if !strings.HasPrefix(path, "/") || !strings.Contains(filepath.Base(path), id) {
		return nil, nil
	}
	mounts, err := Mounted()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, m := range mounts {
		d := filepath.Join(m.point, path)
		if _, err := os.Stat(d); err == nil {
			dirs = append(dirs, d)
		}
	}
	return dirs, nil
}

// Remove kills what is in cgroups and removes them, with those below them. It
// tries for the given time, since the kernel takes a while to let go.
func Remove(dirs []string, within time.Duration) error {
	until := time.Now().Add(within)
	var errs []error
	for _, d := range dirs {
		errs = append(errs, remove(d, until))
	}
	return errors.Join(errs...)
}

func remove(dir string, until time.Time) error {
	for {
		err := removeTree(dir)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		if kerr := killAll(dir); kerr != nil || time.Now().After(until) {
			return fmt.Errorf("cgroup %s: remove: %w", dir, errors.Join(err, kerr))
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// removeTree removes a cgroup and those below it.
func removeTree(dir string) error {
	err := unix.Rmdir(dir)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	entries, rerr := os.ReadDir(dir)
	if rerr != nil {
		return rerr
	}
	below := false
	for _, e := range entries {
		if e.IsDir() {
			below = true
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if below {
		err = unix.Rmdir(dir)
	}
	return err
}

func killAll(dir string) error {
	pids, err := Processes(dir)
	for _, pid := range pids {
		if kerr := unix.Kill(pid, unix.SIGKILL); kerr != nil && !errors.Is(kerr, unix.ESRCH) {
			err = errors.Join(err, kerr)
		}
	}
	if len(pids) == 0 {
		return err
	}
	// The frozen of version 1 cannot die.
	terr := os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
	if terr != nil && !errors.Is(terr, fs.ErrNotExist) && !errors.Is(terr, fs.ErrPermission) {
		err = errors.Join(err, terr)
	}
	return err
}

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// devices lists what is in /dev and tries to make and open others.
func devices(r report) {
	err := filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be seen is not reported
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			if err != nil {
				to = answer(err)
			}
			r["dev."+path] = "link " + to
			return nil
		}
		var st unix.Stat_t
		if d.Type()&fs.ModeDevice == 0 {
			return nil
		}
		if err := unix.Lstat(path, &st); err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		r["dev."+path] = fmt.Sprintf("%d:%d %o %d:%d %s", unix.Major(st.Rdev), unix.Minor(st.Rdev), st.Mode, st.Uid, st.Gid, openDevice(path))
		return nil
	})
	if err != nil {
		r["dev"] = answer(err)
	}
	for _, n := range []struct {
		name         string
		mode         uint32
		major, minor uint32
	}{
		{"mem", unix.S_IFCHR, 1, 1},
		{"null", unix.S_IFCHR, 1, 3},
		{"port", unix.S_IFCHR, 1, 4},
		{"kmsg", unix.S_IFCHR, 1, 11},
		{"tty0", unix.S_IFCHR, 4, 0},
		{"ttyS0", unix.S_IFCHR, 4, 64},
		{"kvm", unix.S_IFCHR, 10, 232},
		{"tun", unix.S_IFCHR, 10, 200},
		{"fuse", unix.S_IFCHR, 10, 229},
		{"loop-control", unix.S_IFCHR, 10, 237},
		{"vhost-net", unix.S_IFCHR, 10, 238},
		{"input", unix.S_IFCHR, 13, 63},
		{"sg", unix.S_IFCHR, 21, 0},
		{"cpu-msr", unix.S_IFCHR, 202, 0},
		{"dri", unix.S_IFCHR, 226, 0},
		{"whiteout", unix.S_IFCHR, 0, 0},
		{"loop0", unix.S_IFBLK, 7, 0},
		{"sda", unix.S_IFBLK, 8, 0},
		{"dm-0", unix.S_IFBLK, 253, 0},
		{"vda", unix.S_IFBLK, 254, 0},
		{"nvme", unix.S_IFBLK, 259, 0},
	} {
		r["mknod."+n.name] = mknod(n.mode, n.major, n.minor)
	}
}

// mknod makes a node in /tmp or, on a read-only root, in /dev/shm, and opens it.
func mknod(mode, major, minor uint32) string {
	path, made := "", error(nil)
	for _, dir := range []string{"/tmp", "/dev"} {
		path = filepath.Join(dir, "probe-node")
		if made = unix.Mknod(path, mode|0o600, int(unix.Mkdev(major, minor))); made == nil {
			break
		}
	}
	if made != nil {
		return "mknod " + answer(made)
	}
	opened := openDevice(path)
	if err := os.Remove(path); err != nil {
		return answer(err)
	}
	return "open " + opened
}

// openDevice opens for reading, without waiting and without taking a terminal.
// A device that is not there is no different from one that cannot be had.
func openDevice(path string) string {
	if strings.HasPrefix(path, "/dev/watchdog") || path == "/dev/snapshot" {
		return "not tried" // opening starts something
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Close(fd)
	}
	return answer(err)
}

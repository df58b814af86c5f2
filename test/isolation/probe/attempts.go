package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempts runs each attempt in a process of its own, so that one that works
// changes nothing for the others.
func attempts(r report) {
	for name := range trials() {
		out, err := exec.Command("/proc/self/exe", "try", name).CombinedOutput() //nolint:gosec // itself
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			r["try."+name] = answer(err)
			continue
		}
		r["try."+name] = strings.TrimSpace(string(out))
	}
}

func try(name string) int {
	fmt.Fprintln(os.Stdout, answer(trials()[name]()))
	return 0
}

// trials are ways out, with valid arguments.
func trials() map[string]func() error {
	return map[string]func() error{
		"mount-tmpfs": func() error { return unix.Mount("probe", "/tmp", "tmpfs", 0, "") },
		"mount-proc":  func() error { return unix.Mount("proc", "/tmp", "proc", 0, "") },
		"remount-sys": func() error { return unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"remount-proc-sys": func() error {
			return unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "")
		},
		"unmask-kcore":     func() error { return unix.Unmount("/proc/kcore", unix.MNT_DETACH) },
		"unshare-user":     func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"unshare-user-net": func() error { return unix.Unshare(unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS) },
		"set-uid-0":        func() error { return unix.Setresuid(0, 0, 0) },
		"set-groups":       func() error { return unix.Setgroups([]int{0}) },
		"host-inode":       hostInode,
		"io-uring":         ioUring,
		"set-hostname":     setHostname,
		"chroot":           func() error { return unix.Chroot("/tmp") },
		"lower-oom-score":  func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0o600) },
		"raise-nofile":     raise,
		"priority":         func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -5) },
		"ptrace-parent":    ptrace,
		"lock-memory":      func() error { return unix.Mlockall(unix.MCL_CURRENT) },
		"bind-low-port":    bindLow,
		"raw-socket": func() error {
			_, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
			return err
		},
		"write-root": func() error { return os.WriteFile("/probe-write", nil, 0o600) },
		"write-self": func() error { return writable("/proc/self/exe") },
		"proc-1-mem": func() error { return writable("/proc/1/mem") },
	}
}

func writable(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// hostInode opens the root inode of the file system that /etc/hosts is on by
// handle, which needs no path.
func hostInode() error {
	dir, err := unix.Open("/etc/hosts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	h := make([]byte, 8)
	binary.NativeEndian.PutUint32(h, 2)
	fd, err := unix.OpenByHandleAt(dir, unix.NewFileHandle(1, h), unix.O_RDONLY)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func ioUring() error {
	var params [120]byte
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0) //nolint:gosec // a kernel structure
	if errno != 0 {
		return errno
	}
	return nil
}

func setHostname() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	return unix.Sethostname([]byte(name))
}

func raise() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Max++
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
}

// ptrace seizes the parent, which does not stop it.
func ptrace() error { return unix.PtraceSeize(os.Getppid()) }

func bindLow() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet4{Port: 81})
}

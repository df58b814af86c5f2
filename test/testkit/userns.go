package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SubordinateUser is who has ids to give away on a host WithSubordinateIDs:
// SubordinateIDs of them from FirstSubordinate on.
const (
	SubordinateUser  = "nobody"
	FirstSubordinate = 231072
	SubordinateIDs   = 65536
)

// WithSubordinateIDs gives the host an /etc/subuid and an /etc/subgid of its
// own, by a mount namespace in which all its commands run, and lets others pass
// through its directory.
func WithSubordinateIDs() Option { return func(h *Host) { h.subordinate = true } }

func (h *Host) provideIDs() {
	h.tb.Helper()
	line := fmt.Sprintf("%s:%d:%d\n", SubordinateUser, FirstSubordinate, SubordinateIDs)
	file := filepath.Join(h.Dir, "subid")
	if err := errors.Join(os.WriteFile(file, []byte(line), 0o644), os.Chmod(h.Dir, 0o711)); err != nil {
		h.tb.Fatal(err)
	}
	var ns *os.File
	err := onThread(func() (err error) {
		err = errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(file, "/etc/subuid", "", unix.MS_BIND, ""), unix.Mount(file, "/etc/subgid", "", unix.MS_BIND, ""))
		if err == nil {
			ns, err = os.Open("/proc/thread-self/ns/mnt")
		}
		return err
	})
	if err != nil {
		h.tb.Fatalf("make a mount namespace: %v", err)
	}
	h.tb.Cleanup(func() {
		if err := ns.Close(); err != nil {
			h.tb.Error(err)
		}
	})
	h.enter = func() error {
		return errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS))
	}
	h.ns.Before(func(*exec.Cmd) error { return h.enter() })
}

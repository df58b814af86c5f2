package peercred

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestOtherUsersAreRefused(t *testing.T) {
	dir, err := os.MkdirTemp("", "peer") //nolint:usetesting // others must be let in
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := dir + "/s"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o711), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, uid := range []int{os.Geteuid(), 65534} {
		conn := connectAs(t, path, uid)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		err = Check(c)
		if ok := uid == os.Geteuid(); ok != (err == nil) || !ok && !errdefs.IsPermissionDenied(err) {
			t.Errorf("user %d: %v", uid, err)
		}
		c.Close()
		unix.Close(conn)
	}
}

// connectAs connects from a thread of another user, which ends with its
// goroutine.
func connectAs(t *testing.T, path string, uid int) int {
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			var errno unix.Errno
			if _, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), 0); errno != 0 {
				err = errno
			}
		}
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		done <- result{fd, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.fd
}

func TestOtherConnectionsThanUnixSocketsAreRefused(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := Check(a); !errdefs.IsPermissionDenied(err) {
		t.Error(err)
	}
}

// Package spare is the life of a shim before it has a container; see
// sdk/shim/wire.
package spare

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// ErrNoDriver says that the driver has ended, and nobody needs the spare.
var ErrNoDriver = errors.New("the driver has ended")

// Await waits on descriptor fd for a container's directory. When it returns,
// the process looks like its shim, fd is the control socket and standard output
// goes to its log.
func Await(fd int) (dir string, err error) {
	buf, rights := make([]byte, unix.PathMax), make([]byte, unix.CmsgSpace(4*2))
	n, rn, _, _, err := unix.Recvmsg(fd, buf, rights, unix.MSG_CMSG_CLOEXEC)
	for errors.Is(err, unix.EINTR) {
		n, rn, _, _, err = unix.Recvmsg(fd, buf, rights, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return "", os.NewSyscallError("recvmsg", err)
	}
	if n == 0 {
		return "", ErrNoDriver
	}
	mishap.Hit(mishap.ShimAssigned)
	dir = string(buf[:n])
	listener, log, err := files(rights[:rn])
	if err != nil {
		return "", err
	}
	if err := rename(os.Args[1:3], wire.Create, dir); err != nil {
		return "", err
	}
	mishap.Hit(mishap.ShimNamed)
	if _, err := unix.Write(fd, []byte{1}); err != nil && !errors.Is(err, unix.EPIPE) {
		return "", os.NewSyscallError("answer", err)
	}
	for to, from := range map[int]int{1: log, 2: log, fd: listener} {
		if err := unix.Dup3(from, to, 0); err != nil {
			return "", os.NewSyscallError("dup3", err)
		}
	}
	return dir, errors.Join(unix.Close(listener), unix.Close(log))
}

// files takes the control socket and the log out of a message.
func files(rights []byte) (listener, log int, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return 0, 0, err
	}
	if len(messages) != 1 {
		return 0, 0, fmt.Errorf("%d control messages", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, 0, err
	}
	if len(fds) != 2 {
		return 0, 0, fmt.Errorf("%d descriptors", len(fds))
	}
	return fds[0], fds[1], nil
}

// rename overwrites the process's arguments where the kernel shows them to
// others, the mode at last: with its first byte the spare looks like a shim, and
// of the right container, wherever it is stopped. args are those arguments; the strings in
// os.Args are that memory itself.
func rename(args []string, mode, dir string) error {
	if len(args[0]) != len(mode) || len(args[1]) < len(dir) {
		return fmt.Errorf("no room for %s %s in place of %s %s", mode, dir, args[0], strings.TrimRight(args[1], "."))
	}
	room := unsafe.Slice(unsafe.StringData(args[1]), len(args[1]))
	clear(room[copy(room, dir):])
	copy(unsafe.Slice(unsafe.StringData(args[0]), len(mode)), mode)
	return nil
}

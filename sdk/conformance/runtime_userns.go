package conformance

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/runtime"
)

// The ids of a box with a user namespace.
const (
	firstID = 500000
	manyIDs = 65536
)

func usernsCases() []runtimeCase {
	return []runtimeCase{
		{"in a user namespace root owns its files and its streams, and is nobody on the host", userNamespace},
	}
}

// userns is the file of a new user namespace, while the case runs.
func (l *runtimeLab) userns() string {
	cmd := exec.Command("sleep", "60") //nolint:noctx // ended by the clean-up
	ids := []syscall.SysProcIDMap{{HostID: firstID, Size: manyIDs}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
	}
	l.NoError(cmd.Start(), "make a user namespace")
	l.Cleanup(func() { _ = errors.Join(cmd.Process.Kill(), cmd.Wait()) })
	return fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid)
}

func userNamespace(l *runtimeLab) {
	info, err := l.d.Info(l.ctx)
	l.NoError(err, "Info")
	if info.Kind != "" && !slices.Contains(info.Capabilities, runtime.CapUserNS) {
		l.Skipf("the driver does not declare %s", runtime.CapUserNS)
	}
	b := l.run(box{
		userns: l.userns(), fifo: "/go",
		script: `echo mine > /made && cat /made > /dev/stdout; read line < /go`,
	})
	var st unix.Stat_t
	l.NoError(unix.Stat(fmt.Sprintf("/proc/%d", l.state(b, "").Pid), &st), "look at its process")
	if st.Uid != firstID || st.Gid != firstID {
		l.Errorf("its process is %d:%d on the host", st.Uid, st.Gid)
	}
	c := l.exec(l.execArgs(b, "x", runtime.IO{}, "sh", "-c", "echo exec > /dev/stdout"), outputs)
	c.expect(1, "exec\n")
	c.end()
	b.write("\n")
	l.wait(b, "")
	l.NoError(unix.Stat(b.dir+"/files/made", &st), "look at its file")
	if st.Uid != 0 || st.Gid != 0 {
		l.Errorf("what its root made belongs to %d:%d on disk, not to root", st.Uid, st.Gid)
	}
	l.logIs(b, "stdout: mine\n")
}

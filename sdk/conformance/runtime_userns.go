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

// owned complains of what root does not own, and opens its standard streams
// anew, as images do that log to /dev/stdout.
const owned = `for f in / /etc/plain /dev/stdin /dev/stdout /dev/stderr; do [ -O $f ] && [ -G $f ] || echo "root does not own $f"; done
read line < /dev/stdin; echo "$line" > /dev/stdout; read line < /dev/stdin; echo "$line" > /dev/stderr`

func userNamespace(l *runtimeLab) {
	info, err := l.d.Info(l.ctx)
	l.NoError(err, "Info")
	if info.Kind != "" && !slices.Contains(info.Capabilities, runtime.CapUserNS) {
		l.Skipf("the driver does not declare %s", runtime.CapUserNS)
	}
	b := l.create(box{userns: l.userns(), script: "echo mine > /made; " + owned + "; read line < /go", fifo: "/go", io: runtime.IO{Stdin: true}})
	c := l.attach(b, "", streams, false)
	_, err = l.d.Start(l.ctx, b.id)
	l.NoError(err, "start")
	var st unix.Stat_t
	l.NoError(unix.Stat(fmt.Sprintf("/proc/%d", l.state(b, "").Pid), &st), "look at its process")
	if st.Uid != firstID || st.Gid != firstID {
		l.Errorf("its process is %d:%d on the host", st.Uid, st.Gid)
	}
	c.echoes()
	x := l.exec(l.execArgs(b, "x", runtime.IO{Stdin: true}, "sh", "-c", owned), streams)
	x.echoes()
	x.end()
	b.write("\n")
	c.end()
	l.wait(b, "")
	l.NoError(unix.Stat(b.dir+"/files/made", &st), "look at its file")
	if st.Uid != 0 || st.Gid != 0 {
		l.Errorf("what its root made belongs to %d:%d on disk, not to root", st.Uid, st.Gid)
	}
	l.logIs(b, "stdout: one\n", "stderr: two\n")
}

// echoes talks to the script owned.
func (c *client) echoes() {
	c.send("one\n")
	c.expect(1, "one\n")
	c.send("two\n")
	c.expect(2, "two\n")
}

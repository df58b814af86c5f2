package shortage

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/test/testkit"
)

func TestNoDescriptorsLeft(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "busybox", "sleep", "1000")
	set := func(n uint64) {
		var lim unix.Rlimit
		if err := unix.Prlimit(h.Pid(), unix.RLIMIT_NOFILE, nil, &lim); err != nil {
			t.Fatal(err)
		}
		lim.Cur = min(n, lim.Max)
		if err := unix.Prlimit(h.Pid(), unix.RLIMIT_NOFILE, &lim, nil); err != nil {
			t.Fatal(err)
		}
	}
	var conns []net.Conn
	set(100)
	for range 150 { // some wait in the listener's queue
		c, err := net.Dial("unix", h.Socket)
		if err != nil {
			break
		}
		conns = append(conns, c)
	}
	t.Logf("%d connections, %d descriptors", len(conns), openFiles(t, h.Pid()))
	for _, c := range conns {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	wantWorks(t, h)
	// Few are left: what needs them is refused, and done when there are more.
	set(uint64(openFiles(t, h.Pid())) + 3)
	r := h.Docker("run", "--rm", "busybox", "true")
	t.Logf("run with three descriptors: %d %s", r.Code, r.Stderr)
	if r.Code != 0 && !strings.Contains(r.Stderr, "too many open files") {
		t.Errorf("run with three descriptors: %+v", r)
	}
	set(1 << 16)
	wantWorks(t, h)
	h.MustDocker("exec", id, "true")
	if n := h.MustDocker("ps", "-aq"); strings.Contains(n, "\n") {
		t.Errorf("containers are left: %s", n)
	}
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// hierarchies are where cgroups are mounted: version 1 has one for each
// controller, version 2 has one, and both may be there.
func hierarchies(t *testing.T) (dirs []string) {
	t.Helper()
	for line := range strings.Lines(read(t, "/proc/self/mounts")) {
		if f := strings.Fields(line); f[2] == "cgroup" || f[2] == "cgroup2" {
			dirs = append(dirs, f[1])
		}
	}
	return dirs
}

// group is a cgroup of the test's own, in one of version 1's hierarchies or in
// version 2's.
func group(t *testing.T, controller string, pids ...int) (dir string) {
	t.Helper()
	dir = "/sys/fs/cgroup/" + controller
	if _, err := os.Stat(dir); err != nil {
		dir = "/sys/fs/cgroup"
		write(t, dir+"/cgroup.subtree_control", "+"+controller)
	}
	parent := dir
	dir = filepath.Join(dir, "strake-shortage-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(pids[0]))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil {
			t.Error(err)
		}
		for _, p := range strings.Fields(string(b)) {
			if err := os.WriteFile(parent+"/cgroup.procs", []byte(p), 0o644); err != nil {
				t.Logf("move %s: %v", p, err)
			}
		}
		var last error
		for range 100 {
			if last = os.Remove(dir); last == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Error(last)
	})
	for _, p := range pids {
		write(t, dir+"/cgroup.procs", strconv.Itoa(p))
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// The kernel refuses the runtime driver's new processes.
func TestNoProcessesLeft(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "busybox", "sh", "-c", counter)
	dir := group(t, "pids", ready(t, h)["runtime"].Pid)
	write(t, dir+"/pids.max", read(t, dir+"/pids.current"))
	r := h.Docker("run", "--rm", "--name", "new", "busybox", "true")
	t.Logf("run without processes: %d %s", r.Code, r.Stderr)
	if r.Code == 0 || !strings.Contains(r.Stderr, "resource temporarily unavailable") && !strings.Contains(r.Stderr, `runtime driver "runc"`) {
		t.Errorf("run without processes: %+v", r)
	}
	write(t, dir+"/pids.max", "max")
	ready(t, h)
	wantWorks(t, h)
	h.MustDocker("run", "--rm", "--name", "new", "busybox", "true")
	wantLog(t, h, id, window{})
}

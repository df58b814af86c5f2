package shortage

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
	var conns []net.Conn
	nofile(t, h.Pid(), 100)
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
	nofile(t, h.Pid(), 1<<16)
	wantWorks(t, h)
	h.MustDocker("exec", id, "true")
}

// spare limits a process to so many descriptors more than it has.
func spare(t *testing.T, pid, more int) {
	t.Helper()
	n := 0 // the first number that it may not use
	for ; ; n++ {
		_, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, n))
		if err != nil && more == 0 {
			break
		}
		if err != nil {
			more--
		}
	}
	nofile(t, pid, uint64(n))
}

// nofile sets the limit of a process's descriptors.
func nofile(t *testing.T, pid int, n uint64) {
	t.Helper()
	var lim unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &lim); err != nil {
		t.Fatal(err)
	}
	lim.Cur = min(n, lim.Max)
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &lim, nil); err != nil {
		t.Fatal(err)
	}
}

// lasting returns how to ask the daemon on a connection that it has already.
func lasting(t *testing.T, h *testkit.Host) func(method, path, body string) (int, string) {
	t.Helper()
	client := h.API()
	tr, ok := client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("transport %T", client.Transport)
	}
	tr.DisableKeepAlives, tr.MaxConnsPerHost = false, 1
	t.Cleanup(tr.CloseIdleConnections)
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		return apiBy(t, client, method, path, body)
	}
	ask(http.MethodGet, "/_ping", "")
	return ask
}

// A daemon and its drivers that may open nothing more, or one file, or two, and
// so on: each create, start, network and pull is refused in clear words and
// leaves nothing, or is done, and the last of the steps is.
func TestTooFewDescriptorsForWhatIsMade(t *testing.T) {
	t.Parallel()
	const tooMany = "too many open files"
	h := testkit.Start(t)
	state := &disk{t, filepath.Join(h.Dir, "state")}
	h.MustDocker("pull", "-q", "busybox")
	h.MustDocker("run", "--rm", "-p", "0:80", "busybox", "true")
	ask := lasting(t, h)
	undo := func() {
		t.Helper()
		ask(http.MethodDelete, "/containers/new?force=1", "")
		ask(http.MethodDelete, "/networks/new", "")
		ask(http.MethodDelete, "/images/nginx", "")
	}
	steps := []struct{ path, body string }{
		{"/containers/create?name=new", `{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{"PortBindings":{"80/tcp":[{}]}},"ExposedPorts":{"80/tcp":{}}}`},
		{"/containers/new/start", ""},
		{"/networks/create", `{"Name":"new"}`},
		{"/images/create?fromImage=nginx", ""},
	}
	for what, kind := range map[string]string{"daemon": "", "storage driver": "storage", "runtime driver": "runtime", "network driver": "network", "registry driver": "registry"} {
		refusals, fit, last := 0, false, ""
		undo()
		before := state.traces(h)
		for more := 0; !fit && more < 200; more += 1 + more/8 {
			pid := h.Pid()
			if kind != "" {
				pid = ready(t, h)[kind].Pid
			}
			fit = true
			for _, s := range steps {
				spare(t, pid, more)
				status, body := ask(http.MethodPost, s.path, s.body)
				nofile(t, pid, 1<<16)
				if status < 300 && !strings.Contains(body, `"errorDetail"`) {
					continue
				}
				fit = false
				refusals, last = refusals+1, s.path+": "+body[max(0, len(body)-300):]
				if !strings.Contains(body, tooMany) {
					t.Errorf("%s, %d descriptors more: %s: %d %s", what, more, s.path, status, body[max(0, len(body)-300):])
				}
				if strings.HasPrefix(s.path, "/containers/create") {
					if status, body = ask(http.MethodPost, s.path, s.body); status != http.StatusCreated {
						t.Errorf("%s: %s with enough descriptors: %d %s", what, s.path, status, body)
					}
				}
			}
			undo()
			state.only(h, before, fmt.Sprintf("%s with %d descriptors more", what, more))
		}
		t.Logf("%s: refused %d times", what, refusals)
		if !fit || refusals == 0 {
			t.Errorf("%s: refused %d times, and all done in the end: %v; the last: %s", what, refusals, fit, last)
		}
	}
	wantWorks(t, h)
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

// The kernel refuses the daemon's new processes and threads: it launches no
// driver, says so, and does when it may again. Should it need a thread meanwhile
// it dies, as every program in Go does, and the next one finds all as it was.
func TestNoProcessesLeftForTheDaemon(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "busybox", "sh", "-c", counter)
	before := h.MustDocker("inspect", "-f", "{{.State.Pid}} {{.RestartCount}}", id)
	registry := ready(t, h)["registry"]
	dir := group(t, "pids", h.Pid())
	write(t, dir+"/pids.max", read(t, dir+"/pids.current"))
	signal(t, registry.Pid, syscall.SIGKILL)
	r := h.Docker("pull", "-q", "nginx")
	t.Logf("pull: %d %s", r.Code, r.Stderr)
	died := h.Lost()
	switch {
	case r.Code == 0:
		t.Error("a driver was launched without a process")
	case died:
		if log := h.Log(); !strings.Contains(log, "failed to create new OS thread") {
			t.Errorf("the daemon died: %s", log)
		}
	case !strings.Contains(r.Stderr, `registry driver "`) || !strings.Contains(r.Stderr, "resource temporarily unavailable"):
		t.Errorf("pull without a driver: %+v", r)
	}
	write(t, dir+"/pids.max", "max")
	if died {
		h.Start()
	}
	ready(t, h)
	if after := h.MustDocker("inspect", "-f", "{{.State.Pid}} {{.RestartCount}}", id); after != before {
		t.Errorf("the container: %s, was %s", after, before)
	}
	wantLog(t, h, id, window{})
	wantWorks(t, h)
}

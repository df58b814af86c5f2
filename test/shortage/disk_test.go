package shortage

import (
	"fmt"
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

// disk is a small file system below a host's state directory.
type disk struct {
	t   *testing.T
	dir string
}

// onDisk makes a host whose state directory is a tmpfs with the options.
func onDisk(t *testing.T, options string) (*testkit.Host, *disk) {
	t.Helper()
	h := testkit.New(t)
	d := &disk{t, filepath.Join(h.Dir, "state")}
	if err := os.Mkdir(d.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("shortage", d.dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, 0); err != nil {
			t.Error(err)
		}
	})
	h.Start()
	return h, d
}

func (d *disk) stat() unix.Statfs_t {
	d.t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *disk) free() int64 { s := d.stat(); return int64(s.Bavail) * s.Bsize }

// fill leaves no more than free bytes.
func (d *disk) fill(free int64) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "ballast"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		d.t.Fatal(err)
	}
	if n := d.free() - free; n > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, fi.Size(), n); err != nil {
			d.t.Fatalf("fill the disk: %v", err)
		}
	}
}

// clear ends the shortage.
func (d *disk) clear() {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "ballast*"))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			d.t.Fatal(err)
		}
	}
}

// refused fails unless a command failed for lack of space, in clear words.
func refused(t *testing.T, what string, r testkit.Result, says string) {
	t.Helper()
	if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, says) {
		t.Errorf("%s: code %d %s%s, want %q", what, r.Code, r.Stdout, r.Stderr, says)
	}
}

const noSpace = "no space left on device"

func TestADiskThatIsFullAtAnyStageOfAPull(t *testing.T) {
	t.Parallel()
	h, d := onDisk(t, "size=256m")
	h.MustDocker("pull", "-q", "nginx")
	before := d.free()
	h.MustDocker("rmi", "nginx")
	h.Eventually(20*time.Second, "the image's space is free again", func() bool { return d.free() > before+(10<<20) })
	need := d.free() - before
	steps := int64(5)
	if long() {
		steps = 40
	}
	for i := range steps {
		left := need * i / steps
		d.fill(left)
		r := h.Docker("pull", "-q", "nginx")
		refused(t, fmt.Sprintf("pull with %d of %d KiB", left>>10, need>>10), r, noSpace)
		if list := h.MustDocker("images", "-q"); list != "" {
			t.Errorf("with %d KiB: an image is listed: %s", left>>10, list)
		}
		d.clear()
	}
	t.Logf("a pull that needs %d KiB was refused at %d stages", need>>10, steps)
	h.MustDocker("run", "-d", "--name", "web", "nginx")
	h.MustDocker("rm", "-f", "web")
	// What the refused ones left goes when nobody wants it any more.
	h.MustDocker("rmi", "nginx")
	h.MustDocker("image", "prune", "-f")
	h.Eventually(20*time.Second, "refused pulls have left nothing", func() bool { return d.free() > before+need-(2<<20) })
}

func TestADiskThatIsFullAtCreateStartAndExit(t *testing.T) {
	t.Parallel()
	h, d := onDisk(t, "size=128m")
	h.MustDocker("pull", "-q", "busybox")
	ends := h.MustDocker("run", "-d", "busybox", "sh", "-c", "while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 7")
	serves := h.MustDocker("run", "-d", "--name", "serves", "busybox", "sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.02; done")
	made := h.MustDocker("create", "busybox", "true")
	again := h.MustDocker("run", "-d", "--restart", "always", "busybox", "sleep", "1000")
	d.fill(0)

	refused(t, "create", h.Docker("create", "--name", "new", "busybox", "true"), noSpace)
	refused(t, "start", h.Docker("start", made), noSpace)
	refused(t, "network create", h.Docker("network", "create", "new"), noSpace)
	refused(t, "pull", h.Docker("pull", "-q", "nginx"), noSpace)
	if out := h.MustDocker("exec", serves, "echo", "inside"); out != "inside" {
		t.Errorf("exec on a full disk: %q", out)
	}
	// An exit while nothing can be recorded.
	h.MustDocker("kill", "-s", "KILL", ends)
	pid, err := strconv.Atoi(h.MustDocker("inspect", "-f", "{{.State.Pid}}", again))
	if err != nil {
		t.Fatal(err)
	}
	signal(t, pid, syscall.SIGKILL)
	wantStatus(t, h, ends, "exited 137")
	h.Kill()
	h.Start() // on a full disk
	wantStatus(t, h, ends, "exited 137")
	wantStatus(t, h, serves, "running 0")
	// Space is made by removing things, so removing must work.
	h.MustDocker("rm", ends)
	d.clear()

	for _, kind := range []string{"ps -aq", "volume ls -q", "network ls -q"} {
		if out := h.MustDocker(append(strings.Fields(kind), "--filter", "name=new")...); out != "" {
			t.Errorf("%s shows what was refused: %s", kind, out)
		}
	}
	h.MustDocker("start", "-a", made)
	h.MustDocker("create", "--name", "new", "busybox", "true")
	h.MustDocker("volume", "create", "new")
	h.MustDocker("network", "create", "new")
	wantLog(t, h, serves)
	wantStatus(t, h, again, "running 0")
}

func wantStatus(t *testing.T, h *testkit.Host, id, want string) {
	t.Helper()
	h.Eventually(20*time.Second, id[:12]+" is "+want, func() bool {
		return h.MustDocker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id) == want
	})
}

// wantLog fails unless a counter's log is readable, in order and grows again.
func wantLog(t *testing.T, h *testkit.Host, id string) {
	t.Helper()
	last := 0
	for _, l := range strings.Split(h.MustDocker("logs", id), "\n") {
		var n int
		if _, err := fmt.Sscanf(l, "line %d", &n); err != nil || n <= last {
			t.Fatalf("log line %q after %d", l, last)
		}
		last = n
	}
	h.Eventually(10*time.Second, "the log grows", func() bool {
		lines := strings.Split(h.MustDocker("logs", "-n", "1", id), "\n")
		var n int
		_, err := fmt.Sscanf(lines[0], "line %d", &n)
		return err == nil && n > last
	})
}

func TestAnExitOnAFullDiskIsKeptAfterTheShortage(t *testing.T) {
	t.Parallel()
	h, d := onDisk(t, "size=128m")
	h.MustDocker("pull", "-q", "busybox")
	h.MustDocker("volume", "create", "gate")
	id := h.MustDocker("run", "-d", "-v", "gate:/gate", "busybox", "sh", "-c", "while [ ! -e /gate/end ]; do sleep 0.1; done; exit 7")
	gate := h.MustDocker("volume", "inspect", "-f", "{{.Mountpoint}}", "gate")
	d.fill(0)
	if err := os.Symlink("x", filepath.Join(gate, "end")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(gate, "end")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(gate, "end"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, h, id, "exited 7")
	h.Kill()
	d.clear()
	h.Start()
	wantStatus(t, h, id, "exited 7")
}

func TestNoFreeInodes(t *testing.T) {
	t.Parallel()
	h, d := onDisk(t, "size=256m,nr_inodes=20000")
	h.MustDocker("pull", "-q", "busybox")
	serves := h.MustDocker("run", "-d", "busybox", "sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.02; done")
	dir := filepath.Join(d.dir, "ballast")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600)
		if err == nil {
			continue
		}
		if i == 0 {
			t.Fatal(err)
		}
		break
	}
	refused(t, "pull", h.Docker("pull", "-q", "nginx"), noSpace)
	refused(t, "create", h.Docker("create", "--name", "new", "busybox", "true"), noSpace)
	refused(t, "volume create", h.Docker("volume", "create", "new"), noSpace)
	h.MustDocker("exec", serves, "true")
	d.clear()
	h.MustDocker("pull", "-q", "nginx")
	h.MustDocker("run", "--rm", "--name", "new", "-v", "new:/v", "busybox", "true")
	wantLog(t, h, serves)
}

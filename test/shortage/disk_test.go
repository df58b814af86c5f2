package shortage

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
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
	empty := d.free()
	h.MustDocker("pull", "-q", "nginx")
	need := empty - d.free()
	isEmpty := func() bool { return d.free() >= empty-(1<<20) }
	h.MustDocker("rmi", "nginx")
	h.Eventually(20*time.Second, "the image's space is free again", isEmpty)
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
		// What has arrived would spare the next one that much.
		h.MustDocker("image", "prune", "-f")
		h.Eventually(20*time.Second, "the refused pull has left nothing", isEmpty)
	}
	t.Logf("a pull that needs %d KiB was refused at %d stages", need>>10, steps)
	h.MustDocker("run", "-d", "--name", "web", "nginx")
	h.MustDocker("rm", "-f", "web")
	// What the refused ones left goes when nobody wants it any more.
	h.MustDocker("rmi", "nginx")
	h.MustDocker("image", "prune", "-f")
	h.Eventually(20*time.Second, "refused pulls have left nothing", isEmpty)
}

func TestADiskThatIsFullAtCreateStartAndExit(t *testing.T) {
	t.Parallel()
	h, d := onDisk(t, "size=128m")
	h.MustDocker("pull", "-q", "busybox")
	ends := h.MustDocker("run", "-d", "busybox", "sh", "-c", "while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 7")
	serves := h.MustDocker("run", "-d", "--name", "serves", "busybox", "sh", "-c", counter)
	made := h.MustDocker("create", "busybox", "true")
	again := h.MustDocker("run", "-d", "--restart", "always", "busybox", "sleep", "1000")
	full := begins(t, h, serves)
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
	h.Eventually(20*time.Second, "the log has no room", func() bool {
		lines := counted(t, h, serves)
		return time.Since(lines[len(lines)-1].at) > 500*time.Millisecond
	})
	// Space is made by removing things, so removing must work.
	h.MustDocker("rm", ends)
	d.clear()
	full.to = time.Now()

	for _, kind := range []string{"ps -aq", "volume ls -q", "network ls -q"} {
		if out := h.MustDocker(append(strings.Fields(kind), "--filter", "name=new")...); out != "" {
			t.Errorf("%s shows what was refused: %s", kind, out)
		}
	}
	h.MustDocker("start", "-a", made)
	h.MustDocker("create", "--name", "new", "busybox", "true")
	h.MustDocker("volume", "create", "new")
	h.MustDocker("network", "create", "new")
	if wantLog(t, h, serves, full) == 0 {
		t.Error("no line was lost: the shortage was none")
	}
	wantStatus(t, h, again, "running 0")
}

// inside are the files within a container's directory, a snapshot:
// they go with it.
var inside = regexp.MustCompile(`^(/containers/[^/]+|/drivers/[^/]+/snapshots/[^/]+)/`)

// traces are what things have on disk and in the kernel: directories and files
// below the state directory, mounts, cgroups and links. What a pull that failed
// has fetched is kept for the next one.
func (d *disk) traces(h *testkit.Host) map[string]bool {
	d.t.Helper()
	out := map[string]bool{}
	if err := filepath.WalkDir(d.dir, func(path string, _ fs.DirEntry, err error) error {
		switch name := strings.TrimPrefix(path, d.dir); {
		case name == "/ballast":
		case inside.MatchString(name), name == "/content", name == "/leases", strings.HasSuffix(name, "/trash"):
			return filepath.SkipDir
		default:
			out[name] = true
		}
		return nil // files vanish while one looks
	}); err != nil {
		d.t.Fatal(err)
	}
	for _, l := range h.Leaks() {
		if !strings.HasPrefix(l, "process ") {
			kind, what, _ := strings.Cut(l, " ")
			if kind == "mount" { // without its id, which differs every time
				what = strings.Join(strings.Fields(what)[2:5], " ")
			}
			out[kind+" "+what] = true
		}
	}
	return out
}

// only waits until there is nothing but what was there before.
func (d *disk) only(h *testkit.Host, before map[string]bool, when string) {
	d.t.Helper()
	var more []string
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		more = nil
		for l := range d.traces(h) {
			if !before[l] {
				more = append(more, l)
			}
		}
		if len(more) == 0 {
			return
		}
		if time.Now().After(end) {
			d.t.Errorf("%s: left behind: %s", when, strings.Join(more, "\n"))
			return
		}
	}
}

// made is something that is made on a small disk.
type made struct {
	ready, do, undo string // commands
	// spare says that it may well find all the space that it needs in what the
	// daemon holds already.
	spare bool
}

// A create, a start and the making of a volume and a network meet every amount
// of free space from none to all that they need: each is refused in clear words
// and leaves nothing, or is done.
func TestADiskWithTooLittleSpaceForWhatIsMade(t *testing.T) {
	t.Parallel()
	h, d := onDisk(t, "size=128m")
	h.MustDocker("pull", "-q", "busybox")
	for _, m := range []made{
		{do: "create --name new busybox true", undo: "rm new"},
		{ready: "create --name new -p 0:80 busybox sleep 1000", do: "start new", undo: "rm -f new"},
		{do: "volume create new", undo: "volume rm new", spare: true},
		{do: "network create new", undo: "network rm new"},
	} {
		d.steps(h, m)
	}
	wantWorks(t, h)
}

// steps makes something with ever more space, until twice as much as it needs.
func (d *disk) steps(h *testkit.Host, m made) {
	d.t.Helper()
	began := time.Now()
	docker := func(line string) testkit.Result { return h.Docker(strings.Fields(line)...) }
	must := func(line string) {
		d.t.Helper()
		if line != "" {
			h.MustDocker(strings.Fields(line)...)
		}
	}
	must(m.ready)
	must(m.do)
	must(m.undo)
	none := d.traces(h)
	page := int64(os.Getpagesize())
	step := 4 * page
	if long() {
		step = page
	}
	refusals, enough := 0, int64(-1)
	for left := int64(0); enough < 0 || left <= 2*enough; left += step {
		must(m.ready)
		before, lists := d.traces(h), d.lists(h)
		d.fill(left)
		when := fmt.Sprintf("%s with %d KiB", m.do, left>>10)
		r := docker(m.do)
		d.clear()
		switch {
		case r.Code == 0 && enough < 0:
			enough = left
		case r.Code != 0:
			refusals, enough = refusals+1, -1
			refused(d.t, when, r, noSpace)
			d.only(h, before, when)
			if now := d.lists(h); now != lists {
				d.t.Errorf("%s: %s, before %s", when, now, lists)
			}
			must(m.do)
		}
		must(m.undo)
		d.only(h, none, when+", undone")
		if left > 8<<20 {
			d.t.Fatalf("%s: refused still", when)
		}
	}
	d.t.Logf("%s: refused %d times, done with %d KiB (%v)", m.do, refusals, enough>>10, time.Since(began))
	if refusals == 0 && !m.spare {
		d.t.Errorf("%s was not refused once", m.do)
	}
}

// lists are what clients are shown.
func (d *disk) lists(h *testkit.Host) string {
	d.t.Helper()
	var out []string
	for _, path := range []string{"/containers/json?all=1", "/volumes", "/networks"} {
		_, body := api(d.t, h, http.MethodGet, path, "")
		out = append(out, body)
	}
	return strings.Join(out, "\n")
}

func wantStatus(t *testing.T, h *testkit.Host, id, want string) {
	t.Helper()
	h.Eventually(20*time.Second, id[:12]+" is "+want, func() bool {
		return h.MustDocker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id) == want
	})
}

// counter is a command that writes lines for wantLog.
const counter = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.02; done"

// window is a time in which a log may lack lines, and what was there before it.
type window struct {
	from, to time.Time
	last     int // the last line that was in the log when it began
}

// logLine is one of a counter's lines, and when the shim had it.
type logLine struct {
	n  int
	at time.Time
}

func counted(t *testing.T, h *testkit.Host, id string) (lines []logLine) {
	t.Helper()
	for _, l := range strings.Split(h.MustDocker("logs", "-t", id), "\n") {
		stamp, text, _ := strings.Cut(l, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		var n int
		if _, scan := fmt.Sscanf(text, "line %d", &n); scan != nil || err != nil {
			t.Fatalf("log line %q: %v", l, err)
		}
		lines = append(lines, logLine{n, at})
	}
	return lines
}

// begins is the window of a shortage that begins now.
func begins(t *testing.T, h *testkit.Host, id string) window {
	t.Helper()
	lines := counted(t, h, id)
	return window{from: time.Now(), last: lines[len(lines)-1].n}
}

// wantLog fails unless a counter's log has every line in order from the first
// on, those of the shortage aside, and grows. It goes on within a moment of the
// shortage's end. It returns how many lines the shortage has cost.
func wantLog(t *testing.T, h *testkit.Host, id string, w window) (lost int) {
	t.Helper()
	const moment = time.Second
	now := begins(t, h, id)
	h.Eventually(10*time.Second, "the log grows", func() bool {
		lines := counted(t, h, id)
		end := lines[len(lines)-1]
		return end.n > now.last && end.at.After(w.to.Add(2*moment))
	})
	prev := logLine{}
	for _, l := range counted(t, h, id) {
		switch {
		case l.n <= prev.n:
			t.Fatalf("log line %d after %d", l.n, prev.n)
		case l.n == prev.n+1:
		case prev.n < w.last || prev.at.After(w.to.Add(moment)) || l.at.After(w.to.Add(moment)):
			t.Errorf("lines %d to %d are not in the log: between %v and %v, the shortage was from %v (line %d) to %v",
				prev.n+1, l.n-1, prev.at, l.at, w.from, w.last, w.to)
		default:
			lost += l.n - prev.n - 1
		}
		prev = l
	}
	t.Logf("log of %d lines, %d lost in %v of shortage", prev.n, lost, w.to.Sub(w.from))
	return lost
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
	serves := h.MustDocker("run", "-d", "busybox", "sh", "-c", counter)
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
	wantLog(t, h, serves, window{}) // its file was there
}

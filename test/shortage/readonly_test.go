package shortage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/test/testkit"
)

// onExt4 makes a host whose state directory is an ext4 of its own. fail has the
// kernel find an error on it, after which it permits reading alone; mend is what
// an administrator does about that.
func onExt4(t *testing.T) (h *testkit.Host, fail, mend func()) {
	t.Helper()
	h = testkit.New(t)
	image, dir := filepath.Join(h.Dir, "disk"), filepath.Join(h.Dir, "state")
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
		}
	}
	mount := func() { t.Helper(); run("mount", "-o", "loop,errors=remount-ro", image, dir) }
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	run("truncate", "-s", "256M", image)
	run("mkfs.ext4", "-q", image)
	mount()
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	fail = func() {
		t.Helper()
		settle(t, dir) // what was made in the last seconds may be lost, as by a power cut
		source, err := exec.CommandContext(t.Context(), "findmnt", "-no", "SOURCE", dir).Output()
		if err != nil {
			t.Fatal(err)
		}
		trigger := filepath.Join("/sys/fs/ext4", filepath.Base(strings.TrimSpace(string(source))), "trigger_fs_error")
		if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		h.Eventually(5*time.Second, "the disk is read-only", func() bool {
			return os.WriteFile(filepath.Join(dir, "x"), nil, 0o600) != nil
		})
	}
	mend = func() {
		t.Helper()
		// What is left of containers has the disk mounted, each in a namespace of
		// its own; a machine that is started again has none of them.
		for _, l := range h.Leaks() {
			var pid int
			if _, err := fmt.Sscanf(l, "process %d: strake-shim", &pid); err == nil {
				signal(t, pid, syscall.SIGKILL)
			}
		}
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		// Others' mount namespaces may keep the file system: the repair is that of a copy.
		run("cp", image, image+"-copy")
		image += "-copy"
		// One that repaired something says so by its exit code.
		if out, err := exec.CommandContext(t.Context(), "e2fsck", "-fy", image).CombinedOutput(); err != nil && !strings.Contains(string(out), "FILE SYSTEM WAS MODIFIED") {
			t.Fatalf("e2fsck: %v: %s", err, out)
		}
		mount()
	}
	return h, fail, mend
}

// The kernel makes a disk with errors read-only for all, whoever has files open.
// What runs goes on, what changes something is refused in clear words, and after
// a repair all is there.
func TestADiskThatBecomesReadOnly(t *testing.T) {
	t.Parallel()
	const readOnly = "read-only file system"
	h, fail, mend := onExt4(t)
	h.Start()
	h.MustDocker("pull", "-q", "busybox")
	serves := h.MustDocker("run", "-d", "--name", "serves", "busybox", "sh", "-c", "trap 'exit 3' TERM; while true; do sleep 0.1; done")
	ends := h.MustDocker("run", "-d", "--name", "ends", "busybox", "sleep", "1000")
	made := h.MustDocker("create", "--name", "made", "busybox", "echo", "made")
	fail()

	refused(t, "create", h.Docker("create", "--name", "new", "busybox", "true"), readOnly)
	refused(t, "start", h.Docker("start", made), readOnly)
	refused(t, "pull", h.Docker("pull", "-q", "nginx"), readOnly)
	refused(t, "volume create", h.Docker("volume", "create", "new"), readOnly)
	refused(t, "network create", h.Docker("network", "create", "new"), readOnly)
	refused(t, "rm", h.Docker("rm", made), readOnly)
	if out := h.MustDocker("exec", serves, "echo", "inside"); out != "inside" {
		t.Errorf("exec on a read-only disk: %q", out)
	}
	if out := h.MustDocker("ps", "--format", "{{.Names}}"); !strings.Contains(out, "serves") {
		t.Errorf("ps on a read-only disk: %q", out)
	}
	h.MustDocker("kill", "-s", "KILL", ends)
	wantStatus(t, h, ends, "exited 137") // though it cannot be recorded
	ready(t, h)
	pid, err := strconv.Atoi(h.MustDocker("inspect", "-f", "{{.State.Pid}}", serves))
	if err != nil {
		t.Fatal(err)
	}

	// A daemon that comes now cannot keep records, so it says that and leaves
	// alone what runs.
	h.Kill()
	before := len(h.Log())
	if err := h.TryStart(); err == nil {
		t.Error("straked started with a state directory that it cannot write to")
		h.Kill()
	}
	if log := h.Log()[before:]; !strings.Contains(log, readOnly) || !strings.Contains(log, filepath.Join(h.Dir, "state")) {
		t.Errorf("the refusal does not name directory and fault: %s", log)
	}
	if !testkit.Alive(pid) {
		t.Error("the container died with the daemon")
	}

	signal(t, pid, syscall.SIGTERM)
	h.Eventually(5*time.Second, "the container has ended", func() bool { return !testkit.Alive(pid) })
	mend()
	h.Start()
	wantStatus(t, h, serves, "exited 3")
	wantStatus(t, h, ends, "exited 137")
	if out := h.MustDocker("start", "-a", made); out != "made" {
		t.Errorf("the container that was made before: %q", out)
	}
	for _, kind := range []string{"ps -aq", "volume ls -q", "network ls -q"} {
		if out := h.MustDocker(append(strings.Fields(kind), "--filter", "name=new")...); out != "" {
			t.Errorf("%s shows what was refused: %s", kind, out)
		}
	}
	wantWorks(t, h)
}

func settle(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
}

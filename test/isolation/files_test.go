package isolation

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// CVE-2024-21626 and its like: a descriptor of the host's that a container's
// process inherits is a way out.
func TestNoProcessInAContainerInheritsADescriptor(t *testing.T) {
	h := testkit.Start(t, testkit.WithCrun(), testkit.WithConfig(crun))
	h.MustDocker("pull", "-q", "busybox")
	const list = "for f in /proc/self/fd/*; do echo ${f##*/} $(readlink $f); done; echo cwd $(readlink /proc/self/cwd)"
	runtimes := []string{"runc"}
	if *withDocker {
		runtimes = append(runtimes, "crun")
	}
	for _, rt := range runtimes {
		id := h.MustDocker("run", "-d", "--runtime", rt, "busybox", "sleep", "1000")
		for name, r := range map[string]testkit.Result{
			"run":     h.Docker("run", "--rm", "--runtime", rt, "busybox", "sh", "-c", list),
			"run -i":  h.Docker("run", "--rm", "-i", "--runtime", rt, "busybox", "sh", "-c", list),
			"run -t":  h.Docker("run", "--rm", "-t", "--runtime", rt, "busybox", "sh", "-c", list),
			"exec":    h.Docker("exec", id, "sh", "-c", list),
			"exec -i": h.Docker("exec", "-i", id, "sh", "-c", list),
			"exec -t": h.Docker("exec", "-t", id, "sh", "-c", list),
		} {
			lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(r.Stdout, "\r", "")), "\n")
			for _, l := range lines {
				n, to, _ := strings.Cut(l, " ")
				switch {
				case n == "0" || n == "1" || n == "2" || l == "cwd /":
				case to == "" || strings.HasPrefix(to, "/proc/"): // the shell's own, while it lists
				default:
					t.Errorf("%s with %s: %s", name, rt, l)
				}
			}
			if r.Code != 0 || len(lines) < 4 {
				t.Errorf("%s with %s: exit code %d: %s%s", name, rt, r.Code, r.Stdout, r.Stderr)
			}
		}
		h.MustDocker("rm", "-f", id)
	}
}

// CVE-2024-21626: a working directory below /proc/self/fd was one of the host's.
func TestAWorkingDirectoryIsNeverTheHosts(t *testing.T) {
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "busybox", "sleep", "1000")
	first, last := 7, 8 // where runc's leaked
	if *withDocker {
		first, last = 3, 15
	}
	for fd := first; fd <= last; fd++ {
		dir := fmt.Sprintf("/proc/self/fd/%d", fd)
		for _, args := range [][]string{
			{"run", "--rm", "-w", dir, "busybox", "ls", "../../../../../../.." + h.Dir},
			{"exec", "-w", dir, id, "ls", "../../../../../../.." + h.Dir},
		} {
			if r := h.Docker(args...); strings.Contains(r.Stdout, "straked.log") {
				t.Errorf("docker %s sees the host's files", strings.Join(args, " "))
			}
		}
	}
}

// CVE-2021-41091, CVE-2024-25621: what an engine keeps is nobody else's to
// enter, read or write.
func TestUsersOfTheHostGetAtNothingOfTheEngine(t *testing.T) {
	h := testkit.Start(t)
	h.MustDocker("run", "-d", "-v", "vol:/data", "busybox", "sh", "-c", "cp /bin/busybox /data/su; chmod 4755 /data/su; chmod 777 /data; sleep 1000")
	h.Eventually(20*time.Second, "the container has planted a program", func() bool {
		_, err := os.Stat(h.Dir + "/state/volumes/vol/_data/su")
		return err == nil
	})
	want := "enter " + h.Dir + "/run"
	if got := strings.Join(reached(t, h, 65534), "\n"); got != want {
		t.Errorf("others may:\n%s\nwant only: %s", got, want)
	}
}

// reached lists what a user of the host may do with which files of the engine.
func reached(t *testing.T, h *testkit.Host, id uint32) []string {
	t.Helper()
	// The directory above is the test's own and closed: open it, as /var/lib is.
	if err := os.Chmod(h.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, top := range []string{"state", "run"} {
		err := filepath.WalkDir(filepath.Join(h.Dir, top), func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				paths = append(paths, path)
			}
			return nil // files come and go while containers run
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", `while IFS= read -r p; do [ -r "$p" ] && echo "read $p"; [ -w "$p" ] && echo "write $p"; [ -x "$p" ] && echo "enter $p"; done; true`)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\n") + "\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(paths) < 20 {
		t.Errorf("only %d paths were tried", len(paths))
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

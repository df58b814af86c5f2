package isolation

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/test/testkit"
)

// grab waits for a process whose program is the OCI runtime, holds on to that
// file, and tries to open it for writing until some time after the process has
// ended: while it runs the kernel refuses in any case. Nothing is written. It
// tells the file's identity, and whether it could be opened.
const grab = `
while :; do for p in /proc/[0-9]*; do
  case "$(readlink $p/exe 2>/dev/null)" in */runc*|*/crun*|*memfd:*|/|*deleted*)
    ( exec 3<$p/exe || exit
      id=$(stat -L -c %d:%i /proc/self/fd/3)
      n=0; while [ $n -lt 200 ]; do n=$((n+1))
        if ( : >>/proc/self/fd/3 ) 2>/dev/null; then echo "opened $id"; exit; fi
      done
      echo "held $id" )
  esac
done; done`

// libraries are flags that give a container what a program of the host needs to
// run in it, as an image would that means harm.
func libraries(t *testing.T, path string) (flags []string) {
	t.Helper()
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return nil // it needs none
	}
	for _, lib := range regexp.MustCompile(`/\S+`).FindAllString(string(out), -1) {
		flags = append(flags, "-v", lib+":"+lib+":ro")
	}
	return flags
}

// A command of /proc/self/exe has the OCI runtime's own program run in the
// container (CVE-2019-5736).
func TestNoContainerGetsHoldOfTheRuntimesProgram(t *testing.T) {
	h := testkit.Start(t, testkit.WithCrun(), testkit.WithConfig(crun))
	h.MustDocker("pull", "-q", "busybox")
	for _, rt := range []string{"runc", "crun"} {
		path, err := exec.LookPath(rt)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"run", "-d", "--runtime", rt}, libraries(t, path)...)
		c := h.MustDocker(append(args, "busybox", "sh", "-c", grab)...)
		for range 30 {
			if r := h.Docker("exec", c, "/proc/self/exe", "--version"); !strings.Contains(r.Stdout, "version") {
				t.Fatalf("%s does not run in the container: %s%s", rt, r.Stdout, r.Stderr)
			}
		}
		lines := h.MustDocker("logs", c)
		if !strings.Contains(lines, "held") && !strings.Contains(lines, "opened") {
			t.Errorf("%s: its program was never seen, so nothing was tried", rt)
		}
		if own := fmt.Sprintf("opened %d:%d", st.Dev, st.Ino); strings.Contains(lines, own) {
			t.Errorf("%s: the container has opened the host's %s for writing", rt, path)
		}
		t.Logf("%s: %d times held, %d times a copy opened", rt, strings.Count(lines, "held"), strings.Count(lines, "opened"))
		h.MustDocker("rm", "-f", c)
	}
}

package isolation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/test/testkit"
)

// swapper makes /d/null in turn the null device and a link to a file of the
// container's.
const swapper = `mknod /d/null.device c 1 3
while true; do
	ln -s /etc/passwd /d/null.link && mv /d/null.link /d/null
	ln /d/null.device /d/null.again && mv /d/null.again /d/null
done`

// CVE-2025-31133, as a race: a process in another container swaps /dev/null for a
// link while the OCI runtime masks paths by it. A container is refused, or its
// masks hold.
func TestMasksHoldWhileAnotherContainerSwapsTheNullDevice(t *testing.T) {
	if os.Getenv("STRAKE_LONG") == "" {
		t.Skip("the long form: make isolation")
	}
	h := testkit.Start(t)
	dev := filepath.Join(h.Dir, "dev")
	if err := os.Mkdir(dev, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, minor := range map[string]uint32{"zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := unix.Mknod(filepath.Join(dev, name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			t.Fatal(err)
		}
	}
	h.MustDocker("run", "-d", "-v", dev+":/d", "busybox", "sh", "-c", swapper)
	h.Eventually(10*time.Second, "the devices are swapped", func() bool { _, err := os.Lstat(filepath.Join(dev, "null")); return err == nil })
	outcomes := map[string]int{}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && (outcomes["refused"] < 3 || outcomes["masked"] < 1); {
		r := h.Docker("run", "--rm", "-v", dev+":/dev", "busybox", "sh", "-c", masked)
		switch {
		case r.Code == 0:
			outcomes["masked"]++
		case strings.Contains(r.Stderr, "shows something"):
			outcomes["refused"]++
		case r.Code == 9:
			t.Fatalf("a masked path shows something, after %v", outcomes)
		default: // the runtime itself found a device missing
			outcomes["failed"]++
			t.Logf("%d %s", r.Code, r.Stderr)
		}
	}
	t.Logf("%v", outcomes)
	if outcomes["refused"] == 0 || outcomes["masked"] == 0 {
		t.Errorf("the race was not run: %v", outcomes)
	}
}

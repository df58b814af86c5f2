package isolation

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

// CVE-2024-45310, as a race: a container that has a volume makes a directory in
// it a link to the host's and back, while others start that mount something
// inside of that directory. runc before 1.1.14 makes the place for the mount
// wherever the link leads.
func TestNoPlaceForAMountIsMadeOnTheHost(t *testing.T) {
	starts := 20
	if os.Getenv("STRAKE_LONG") != "" {
		starts = 300
	}
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	host, shared := filepath.Join(h.Dir, "host"), filepath.Join(h.Dir, "shared")
	for _, d := range []string{host, shared} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	swap := `while true; do mkdir /s/way; rmdir /s/way; ln -s ` + host + ` /s/way; rm -f /s/way; rm -rf /s/way; done 2>/dev/null`
	h.MustDocker("run", "-d", "-v", shared+":/s", "busybox", "sh", "-c", swap)
	started := 0
	for range starts {
		if h.Docker("run", "--rm", "-v", shared+":/s", "-v", "inner:/s/way/place", "busybox", "true").Code == 0 {
			started++
		}
		if _, err := os.Lstat(filepath.Join(host, "place")); err == nil {
			t.Fatalf("after %d starts there is a directory on the host", started)
		}
	}
	t.Logf("%d of %d started", started, starts)
	if started == 0 {
		t.Error("no container started: nothing was tried")
	}
}

// What is mounted in a volume works as elsewhere while the rest of the host is
// read-only to the OCI runtime.
func TestMountsWithinMountsWork(t *testing.T) {
	h := testkit.Start(t, testkit.WithCrun(), testkit.WithConfig("[runtimes.crun]\ndriver = \"runc\"\n[runtimes.crun.options]\nbinary = \"crun\"\n"))
	h.MustDocker("pull", "-q", "busybox")
	outer := filepath.Join(h.Dir, "outer")
	if err := os.Mkdir(outer, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Dir, "file"), []byte("a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `set -e
echo 1 >/o/own; echo 2 >/o/v/own; echo 3 >/o/t/own; cat /o/f; mount | grep -q ' /o/t type tmpfs'
echo 4 >/o/ro/own 2>/dev/null && exit 9
echo 5 >/root/own; echo 6 >/dev/shm/own; test -c /dev/null; echo 7 >/dev/null; cat /etc/hosts >/dev/null; echo 8 >>/etc/hosts`
	for _, rt := range []string{"runc", "crun"} {
		id := h.MustDocker("create", "--runtime", rt, "-v", outer+":/o", "-v", "vol:/o/v", "--tmpfs", "/o/t",
			"-v", filepath.Join(h.Dir, "file")+":/o/f:ro", "-v", "ro:/o/ro:ro", "busybox", "sh", "-c", script)
		if r := h.Docker("start", "-a", id); r.Code != 0 || r.Out() != "a file" {
			t.Errorf("%s: code %d, %q %s", rt, r.Code, r.Out(), r.Stderr)
		}
		long := h.MustDocker("run", "-d", "--runtime", rt, "-v", outer+":/o", "-v", "vol:/o/v", "busybox", "sleep", "1000")
		if out := h.MustDocker("exec", long, "cat", "/o/own", "/o/v/own"); out != "1\n2" {
			t.Errorf("%s: an exec sees %q", rt, out)
		}
		h.MustDocker("restart", "-t", "1", long)
		h.MustDocker("rm", "-f", long, id)
	}
	if b, err := os.ReadFile(filepath.Join(outer, "own")); err != nil || string(b) != "1\n" {
		t.Errorf("on the host: %q, %v", b, err)
	}
}

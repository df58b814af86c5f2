package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mount"
)

// tree makes a directory and the mounts that show it at an empty one.
func tree(tb testing.TB, files map[string]string) (dir string, mounts []mount.Mount) {
	tb.Helper()
	root := tb.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if to, ok := strings.CutPrefix(text, "→"); ok {
			if err := os.Symlink(to, path); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return tb.TempDir(), []mount.Mount{{Type: "bind", Source: root, Options: []string{"rbind"}}}
}

func TestAMountOfTheMomentIsSeenByNobodyElse(t *testing.T) {
	dir, mounts := tree(t, map[string]string{"etc/passwd": "root", "etc/group": "→/abs/group", "abs/group": "wheel"})
	var a accounts
	err := withRootfs(dir, mounts, func(root *os.File) (err error) {
		if seen, err := os.ReadFile("/proc/1/mountinfo"); err != nil || strings.Contains(string(seen), dir) {
			t.Errorf("the host sees the mount, or: %v", err)
		}
		a, err = readAccounts(root)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(a.passwd) != "root" || string(a.group) != "wheel" {
		t.Errorf("passwd %q, group through an absolute link %q", a.passwd, a.group)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it is still mounted: %v, %v", left, err)
	}
}

func TestAccountFilesThatAreNoneAreNotRead(t *testing.T) {
	dir, mounts := tree(t, map[string]string{"etc/group/file": ""})
	if err := unix.Mkfifo(filepath.Join(mounts[0].Source, "etc/passwd"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := accounts{passwd: []byte("before"), group: []byte("before")}
	err := withRootfs(dir, mounts, func(root *os.File) (err error) {
		a, err = readAccounts(root) // must not wait for a writer of the FIFO
		return err
	})
	if err != nil || a.passwd != nil || a.group != nil {
		t.Errorf("passwd %q, group %q, %v", a.passwd, a.group, err)
	}
}

func TestCopyUpKeepsWhatFilesAre(t *testing.T) {
	dir, mounts := tree(t, map[string]string{"data/a/f": "text", "data/link": "→a/f"})
	src := mounts[0].Source
	for path, to := range map[string]string{filepath.Join(src, "data/hard"): filepath.Join(src, "data/a/f")} {
		if err := os.Link(to, path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(src, "data/a"), 12, 34); err != nil {
		t.Fatal(err)
	}
	dst := t.TempDir()
	err := withRootfs(dir, mounts, func(root *os.File) error {
		return copyUp(root, mountPoint{Destination: "/data", Source: dst})
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Stat(filepath.Join(dst, "a/f"))
	if err != nil {
		t.Fatal(err)
	}
	hard, err := os.Stat(filepath.Join(dst, "hard"))
	if err != nil || !os.SameFile(f, hard) {
		t.Errorf("hard link: %v", err)
	}
	if to, err := os.Readlink(filepath.Join(dst, "link")); err != nil || to != "a/f" {
		t.Errorf("symbolic link: %q, %v", to, err)
	}
	orig, err := os.Stat(filepath.Join(src, "data/a/f"))
	if err != nil || !orig.ModTime().Equal(f.ModTime()) || orig.Mode() != f.Mode() {
		t.Errorf("%v %v, %v", f.ModTime(), f.Mode(), err)
	}
	for _, none := range []string{"/nothing", "/data/a/f"} {
		err := withRootfs(dir, mounts, func(root *os.File) error {
			return copyUp(root, mountPoint{Destination: none, Source: t.TempDir()})
		})
		if err != nil {
			t.Errorf("%s: %v", none, err)
		}
	}
}

func BenchmarkMountOfTheMoment(b *testing.B) {
	dir, mounts := tree(b, map[string]string{"etc/passwd": "root:x:0:0::/:/bin/sh\n", "etc/group": "root:x:0:\n"})
	for b.Loop() {
		err := withRootfs(dir, mounts, func(root *os.File) error {
			_, err := readAccounts(root)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

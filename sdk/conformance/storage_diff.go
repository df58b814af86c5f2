package conformance

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/storage"
)

func diffCases() []storageCase {
	return []storageCase{
		{"a diff applied to the parent gives the same tree", roundTrip},
		{"a diff of a snapshot without a parent is its whole tree", diffWhole},
		{"a diff is in path order, names what it changes and nothing else, and is the same twice", diffExact},
		{"a diff of an unchanged snapshot or a view is empty", diffEmpty},
		{"a layer's diff is the layer", diffLayer},
		{"a diff wants a snapshot", diffWrong},
	}
}

// differ returns the driver's Diff, or ends the case.
func (l *storageLab) differ() storage.Differ {
	if !l.has(storage.CapDiff) {
		l.Skipf("the driver does not declare %s", storage.CapDiff)
	}
	d, ok := l.d.(storage.Differ)
	if !ok {
		l.Fatalf("the driver declares %s but does not implement it", storage.CapDiff)
	}
	return d
}

func (l *storageLab) diff(key storage.SnapshotKey) []byte {
	var b bytes.Buffer
	l.NoError(l.differ().Diff(l.ctx, key, &b), "diff "+string(key))
	return b.Bytes()
}

func (l *storageLab) richBase() {
	suid := file("bin/su", "su")
	suid.Mode = 0o4755
	l.layer("base", "", archived(l, directory("bin/", 0o755), suid, file("bin/gone", ""), directory("etc/", 0o750), file("etc/conf", "a"),
		directory("var/", 0o755), directory("var/lib/", 0o711), file("var/lib/x", "x"), file("var/lib/y", "y"),
		symlink("lib", "usr/lib"), file("one", "linked"), hardlink("two", "one"), node("null", tar.TypeChar, 1, 3)))
}

// change changes a bit of everything.
func change(root string) error {
	stamp := []unix.Timespec{{Sec: 77, Nsec: 1}, {Sec: 1700000000, Nsec: 987654321}}
	return errors.Join(
		os.WriteFile(root+"/etc/conf", []byte("changed"), 0o600),
		os.Remove(root+"/bin/gone"), os.Chmod(root+"/bin", 0o700), os.Lchown(root+"/lib", 3, 4),
		os.RemoveAll(root+"/var/lib"), os.Mkdir(root+"/var/lib", 0o755), write(root, "var/lib/z", "z"),
		os.Link(root+"/one", root+"/three"), os.Remove(root+"/null"), os.Symlink("to", root+"/null"),
		write(root, "new/deep/f", strings.Repeat("n", 300000)), os.Link(root+"/new/deep/f", root+"/new/g"),
		unix.Mkfifo(root+"/new/fifo", 0o600), unix.Mknod(root+"/new/dev", unix.S_IFBLK|0o600, int(unix.Mkdev(8, 1))), //nolint:gosec // small numbers
		unix.Lsetxattr(root+"/new/g", "user.note", []byte("a\x00b"), 0), unix.Lsetxattr(root+"/new/g", "security.capability", []byte(capNetRaw), 0),
		os.Chmod(root+"/new/g", 0o2711|os.ModeSetgid), write(root, "new/"+strings.Repeat("n", 255), ""),
		unix.UtimesNanoAt(unix.AT_FDCWD, root+"/new/deep/f", stamp, 0),
		unix.UtimesNanoAt(unix.AT_FDCWD, root+"/new/deep", stamp, 0),
	)
}

func roundTrip(l *storageLab) {
	l.differ()
	l.richBase()
	mounts := l.prepare("a", "base")
	var changed, applied map[string]string
	l.inside(mounts, func(root string) (err error) {
		if err := change(root); err != nil {
			return err
		}
		changed, err = scan(root)
		return err
	})
	layer := l.diff("a")
	l.layer("copy", "base", layer)
	l.look("copy", func(root string) (err error) {
		applied, err = scan(root)
		return err
	})
	l.NoError(sameTree(applied, changed), "apply the diff to the parent")
	l.commit("original", "a")
	if again := l.diff("original"); !bytes.Equal(again, layer) {
		l.Errorf("the diff of the committed snapshot differs from that of the active one")
	}
	if again := l.diff("copy"); !bytes.Equal(again, layer) {
		l.Errorf("the diff of the applied diff differs: %v, first was %v", entryNames(l, again), entryNames(l, layer))
	}
}

func diffWhole(l *storageLab) {
	l.differ()
	var changed, applied map[string]string
	l.inside(l.prepare("a", ""), func(root string) (err error) {
		err = errors.Join(write(root, "a/f", "f"), os.Symlink("x", root+"/l"), os.Link(root+"/a/f", root+"/h"), os.Chmod(root, 0o700))
		if err != nil {
			return err
		}
		changed, err = scan(root)
		return err
	})
	l.layer("copy", "", l.diff("a"))
	l.look("copy", func(root string) (err error) {
		applied, err = scan(root)
		return err
	})
	l.NoError(sameTree(applied, changed), "apply the diff to nothing")
}

func entryNames(l *storageLab, layer []byte) []string {
	var names []string
	tr := tar.NewReader(bytes.NewReader(layer))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		l.NoError(err, "read the diff")
		names = append(names, strings.TrimSuffix(h.Name, "/"))
	}
}

func diffExact(l *storageLab) {
	l.differ()
	l.richBase()
	l.inside(l.prepare("a", "base"), func(root string) error {
		return errors.Join(write(root, "etc/new", ""), write(root, "etc-", ""), os.Remove(root+"/bin/gone"), write(root, "passing", ""), os.Remove(root+"/passing"))
	})
	layer := l.diff("a")
	names := map[string]bool{}
	last := ""
	for _, name := range entryNames(l, layer) {
		if name == "." {
			continue // the root, whose time changed
		}
		if strings.Compare(strings.ReplaceAll(last, "/", "\x01"), strings.ReplaceAll(name, "/", "\x01")) >= 0 {
			l.Errorf("%q comes after %q", name, last)
		}
		last, names[name] = name, true
	}
	for _, name := range []string{"bin", "bin/.wh.gone", "etc", "etc/new", "etc-"} {
		if !names[name] {
			l.Errorf("the diff lacks %q", name)
		}
		delete(names, name)
	}
	if len(names) != 0 {
		l.Errorf("the diff holds more: %v", names)
	}
	if !bytes.Equal(l.diff("a"), layer) {
		l.Errorf("the second diff differs")
	}
}

func diffEmpty(l *storageLab) {
	l.differ()
	l.richBase()
	l.prepare("a", "base")
	l.view("v", "base")
	for _, key := range []storage.SnapshotKey{"a", "v"} {
		if names := entryNames(l, l.diff(key)); len(names) != 0 {
			l.Errorf("the diff of %s holds %v", key, names)
		}
	}
}

func diffLayer(l *storageLab) {
	l.differ()
	l.richBase()
	stamped := file("etc/conf", "b")
	stamped.ModTime = time.Unix(5, 6)
	l.layer("layer", "base", archived(l, file("bin/.wh.gone", ""), directory("etc/", 0o755), file("etc/.wh..wh..opq", ""), stamped, file("new", "")))
	layer := l.diff("layer")
	l.layer("again", "base", layer)
	var first, second map[string]string
	l.look("layer", func(root string) (err error) { first, err = scan(root); return err })
	l.look("again", func(root string) (err error) { second, err = scan(root); return err })
	l.NoError(sameTree(second, first), "apply the layer's diff")
	if names := fmt.Sprint(entryNames(l, layer)); !strings.Contains(names, "etc/.wh..wh..opq") || !strings.Contains(names, "bin/.wh.gone") {
		l.Errorf("the layer's diff lacks its marks: %s", names)
	}
}

func diffWrong(l *storageLab) {
	err := l.differ().Diff(l.ctx, "nobody", io.Discard)
	l.ErrorIs(err, errdefs.ErrNotFound, "diff of an unknown snapshot")
}

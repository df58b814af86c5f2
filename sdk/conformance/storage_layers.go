package conformance

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/storage"
)

func layerCases() []storageCase {
	return []storageCase{
		{"a layer's files have all their metadata", metadata},
		{"hard links are links, those to symbolic links too", hardLinks},
		{"devices and fifos are made", nodes},
		{"extended attributes are kept, and forged marks of overlayfs are not", layerXattrs},
		{"sparse files of all four formats are read, and apply keeps their holes", sparse},
		{"very long names and targets are kept", longNames},
		{"of several entries for one name the last wins, whatever their types", duplicates},
		{"parents without an entry are made, or stay as the lower layer has them", implicitParents},
		{"an upper layer replaces files by directories and the reverse", typeChanges},
		{"odd but valid archives are read", oddArchives},
		{"apply counts bytes and entries", applyCounts},
		{"apply wants an active snapshot", applyWrong},
		{"a malformed layer is refused, and its key can be used again", malformed},
		{"layers may be applied at once, before their parents are there", applyAtOnce},
		{"applying a layer again changes nothing", applyAgain},
	}
}

func metadata(l *storageLab) {
	const nanos = 123456789
	setuid := file("bin/su", "#!")
	setuid.Mode, setuid.Uid, setuid.Gid = 0o6755, 1234, 70000
	setuid.ModTime = time.Unix(1e9, nanos)
	setuid.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": capNetRaw}
	dir := directory("bin/", 0o2751)
	dir.Gid, dir.ModTime = 42, time.Unix(2e9, 1)
	sticky := directory("tmp/", 0o1777)
	link := symlink("link", "../nowhere")
	link.Uid, link.Gid, link.ModTime = 5, 6, time.Unix(3, 4)
	old := file("old", "")
	old.ModTime = time.Unix(-1e9, 0)
	secret := file("secret", "")
	secret.Mode = 0
	l.layer("layer", "", archived(l, dir, setuid, sticky, link, old, secret))
	l.look("layer", func(root string) error {
		return errors.Join(
			wantStat(root, "bin", unix.S_IFDIR|0o2751, 0, 42, 2e9, 1),
			wantStat(root, "bin/su", unix.S_IFREG|0o6755, 1234, 70000, 1e9, nanos),
			wantXattr(root, "bin/su", "security.capability", capNetRaw),
			wantStat(root, "tmp", unix.S_IFDIR|0o1777, 0, 0, stampUnix, 0),
			wantStat(root, "link", unix.S_IFLNK|0o777, 5, 6, 3, 4),
			wantStat(root, "old", unix.S_IFREG|0o644, 0, 0, -1e9, 0),
			wantStat(root, "secret", unix.S_IFREG, 0, 0, stampUnix, 0),
			want(root, "bin/su", "#!"))
	})
}

// capNetRaw is cap_net_raw+ep, as the kernel stores it.
const capNetRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func wantStat(root, name string, mode, uid, gid uint32, sec, nsec int64) error {
	var st unix.Stat_t
	if err := unix.Lstat(root+"/"+name, &st); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if st.Mode != mode || st.Uid != uid || st.Gid != gid || st.Mtim != (unix.Timespec{Sec: sec, Nsec: nsec}) {
		return fmt.Errorf("%s has mode %#o, owner %d:%d, mtime %d.%09d, want %#o, %d:%d, %d.%09d",
			name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec, mode, uid, gid, sec, nsec)
	}
	return nil
}

func wantMode(root, name string, mode uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(root+"/"+name, &st); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if st.Mode != mode {
		return fmt.Errorf("%s has mode %#o, want %#o", name, st.Mode, mode)
	}
	return nil
}

func wantXattr(root, name, attr, value string) error {
	b := make([]byte, 4096)
	n, err := unix.Lgetxattr(root+"/"+name, attr, b)
	if err != nil {
		return fmt.Errorf("%s: attribute %s: %w", name, attr, err)
	}
	if string(b[:n]) != value {
		return fmt.Errorf("%s: attribute %s is %q, want %q", name, attr, b[:n], value)
	}
	return nil
}

func wantLinked(root, a, b string) error {
	var x, y unix.Stat_t
	if err := errors.Join(unix.Lstat(root+"/"+a, &x), unix.Lstat(root+"/"+b, &y)); err != nil {
		return err
	}
	if x.Ino != y.Ino || x.Dev != y.Dev {
		return fmt.Errorf("%s and %s are not one file", a, b)
	}
	return nil
}

func hardLinks(l *storageLab) {
	l.layer("layer", "", archived(l,
		file("a", "text"), hardlink("b", "a"), hardlink("dir/c", "/a"), symlink("sym", "a"), hardlink("sym2", "./sym"),
		directory("real/", 0o755), file("real/f", "f"), symlink("alias", "real"), hardlink("d", "alias/f"), hardlink("d", "d"),
		file("e", "replaced"), hardlink("e", "a")))
	l.look("layer", func(root string) error {
		target, err := os.Readlink(root + "/sym2")
		if target != "a" {
			err = errors.Join(err, fmt.Errorf("sym2 leads to %q", target))
		}
		return errors.Join(err, want(root, "dir/c", "text"), wantLinked(root, "a", "b"), wantLinked(root, "a", "dir/c"),
			wantLinked(root, "sym", "sym2"), wantLinked(root, "real/f", "d"), wantLinked(root, "a", "e"))
	})
}

func nodes(l *storageLab) {
	l.layer("layer", "", archived(l, node("dev/null", tar.TypeChar, 1, 3), node("dev/sda", tar.TypeBlock, 8, 300), node("fifo", tar.TypeFifo, 0, 0)))
	l.look("layer", func(root string) error {
		var null, sda unix.Stat_t
		err := errors.Join(unix.Lstat(root+"/dev/null", &null), unix.Lstat(root+"/dev/sda", &sda))
		if null.Rdev != unix.Mkdev(1, 3) || sda.Rdev != unix.Mkdev(8, 300) {
			err = errors.Join(err, fmt.Errorf("device numbers are %#x and %#x", null.Rdev, sda.Rdev))
		}
		return errors.Join(err, wantMode(root, "dev/null", unix.S_IFCHR|0o640), wantMode(root, "dev/sda", unix.S_IFBLK|0o640), wantMode(root, "fifo", unix.S_IFIFO|0o640))
	})
}

func layerXattrs(l *storageLab) {
	l.base()
	f := file("f", "")
	f.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "binary \xff\x01 value", "SCHILY.xattr.user.empty": ""}
	dir := directory("dir/", 0o755)
	dir.PAXRecords = map[string]string{
		"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y",
		"SCHILY.xattr.trusted.overlay.redirect": "/gone", "SCHILY.xattr.user.note": "dir",
	}
	l.layer("layer", "base", archived(l, f, dir))
	l.look("layer", func(root string) error {
		return errors.Join(wantXattr(root, "f", "user.note", "binary \xff\x01 value"), wantXattr(root, "f", "user.empty", ""),
			wantXattr(root, "dir", "user.note", "dir"), want(root, "dir/file", "base"))
	})
}

func sparse(l *storageLab) {
	for format, tar := range sparseLayers() {
		name := storage.SnapshotKey("sparse-" + format)
		l.layer(name, "", tar)
		l.look(name, func(root string) error {
			b, err := os.ReadFile(root + "/sparse")
			if err != nil {
				return err
			}
			wanted := make([]byte, sparseSize)
			copy(wanted, "head")
			copy(wanted[sparseTail:], "tail")
			if !bytes.Equal(b, wanted) {
				return fmt.Errorf("format %s: %d bytes that differ from the file", format, len(b))
			}
			var st unix.Stat_t
			if err := unix.Stat(root+"/sparse", &st); err != nil {
				return err
			}
			if l.has(storage.CapApply) && st.Blocks*512 >= sparseSize {
				return fmt.Errorf("format %s: %d bytes on disk, the holes are filled", format, st.Blocks*512)
			}
			return nil
		})
	}
}

func longNames(l *storageLab) {
	component := strings.Repeat("n", 255)
	deep := strings.Repeat(component+"/", 14) + "end"
	target := strings.Repeat("t/", 2000)
	l.layer("layer", "", archived(l, file(deep, "deep"), symlink("link", target), file("ünï→"+strings.Repeat("é", 60), "utf8"), file("raw-\xff\xfe", "bytes")))
	l.look("layer", func(root string) error {
		got, err := os.Readlink(root + "/link")
		if got != target {
			err = errors.Join(err, fmt.Errorf("a link target of %d bytes became one of %d", len(target), len(got)))
		}
		return errors.Join(err, want(root, deep, "deep"), want(root, "ünï→"+strings.Repeat("é", 60), "utf8"), want(root, "raw-\xff\xfe", "bytes"))
	})
	l.refused(archived(l, file(strings.Repeat("n", 256), "")), "a component of 256 bytes")
	l.refused(archived(l, file(strings.Repeat("d/", 40000)+"f", "")), "a name of 80000 bytes")
}

// refused wants an error for a layer, and the driver unharmed.
func (l *storageLab) refused(tar []byte, what string) {
	if err := l.tryLayer(l.fresh("refused"), "", tar); err == nil {
		l.Errorf("%s was accepted", what)
	}
}

func duplicates(l *storageLab) {
	kinds := map[string][]entry{
		"file": {file("x", "file")}, "dir": {directory("x/", 0o700), file("x/in", "in")}, "link": {symlink("x", "y")},
		"hard": {hardlink("x", "other")}, "fifo": {node("x", tar.TypeFifo, 0, 0)},
	}
	checks := map[string]func(root string) error{
		"file": func(root string) error { return want(root, "x", "file") },
		"dir": func(root string) error {
			return errors.Join(wantMode(root, "x", unix.S_IFDIR|0o700), want(root, "x/in", "in"))
		},
		"link": func(root string) error { return wantMode(root, "x", unix.S_IFLNK|0o777) },
		"hard": func(root string) error { return wantLinked(root, "x", "other") },
		"fifo": func(root string) error { return wantMode(root, "x", unix.S_IFIFO|0o640) },
	}
	for first := range kinds {
		for second := range kinds {
			name := storage.SnapshotKey(first + "-" + second)
			entries := append([]entry{file("other", "other")}, kinds[first]...)
			l.layer(name, "", archived(l, append(entries, kinds[second]...)...))
			l.look(name, func(root string) error {
				if err := errors.Join(checks[second](root), want(root, "other", "other")); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				return nil
			})
		}
	}
}

func implicitParents(l *storageLab) {
	tmp := directory("tmp/", 0o1777)
	tmp.Uid = 7
	sub := directory("tmp/sub/", 0o2700)
	sub.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "kept"}
	l.layer("base", "", archived(l, tmp, sub, file("tmp/sub/lower", "")))
	l.layer("layer", "base", archived(l, file("tmp/sub/upper", ""), file("new/sub/f", "")))
	l.layer("top", "layer", archived(l, file("tmp/.wh.none", ""), file("tmp/sub/.wh.lower", "")))
	check := func(root string) error {
		return errors.Join(wantStat(root, "tmp", unix.S_IFDIR|0o1777, 7, 0, stampUnix, 0), wantMode(root, "tmp/sub", unix.S_IFDIR|0o2700),
			wantXattr(root, "tmp/sub", "user.note", "kept"),
			wantMode(root, "new", unix.S_IFDIR|0o755), wantMode(root, "new/sub", unix.S_IFDIR|0o755), wantAbsent(root, "tmp/sub/lower"))
	}
	if !l.has(storage.CapApply) { // an unpacker in the mounts touches the times
		check = func(root string) error {
			return errors.Join(wantMode(root, "tmp", unix.S_IFDIR|0o1777), wantMode(root, "tmp/sub", unix.S_IFDIR|0o2700), wantAbsent(root, "tmp/sub/lower"))
		}
	}
	l.look("top", check)
}

func typeChanges(l *storageLab) {
	l.layer("base", "", archived(l, file("f2d", ""), directory("d2f/", 0o755), file("d2f/x", ""), symlink("l2d", "d2f"), directory("d2l/", 0o755), file("d2l/x", "")))
	l.layer("layer", "base", archived(l, directory("f2d/", 0o755), file("f2d/in", "in"), file("d2f", "file"), directory("l2d/", 0o755), file("l2d/in", "in"), symlink("d2l", "f2d")))
	l.look("layer", func(root string) error {
		return errors.Join(want(root, "f2d/in", "in"), want(root, "d2f", "file"), want(root, "l2d/in", "in"),
			wantMode(root, "l2d", unix.S_IFDIR|0o755), want(root, "d2l/in", "in"), wantAbsent(root, "d2l/x"))
	})
}

func oddArchives(l *storageLab) {
	global := entry{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}}, ""}
	cases := map[string][]byte{
		"dots":        archived(l, directory("./", 0o755), file("./dir//./f", "text")),
		"absolute":    archived(l, directory("/", 0o755), file("//dir/f", "text")),
		"dotdot":      archived(l, file("dir/sub/../f", "text")),
		"global":      archived(l, global, file("dir/f", "text")),
		"padding":     append(archived(l, file("dir/f", "text")), make([]byte, 64<<10)...),
		"no-end":      []byte(newRawHeader("dir/f", '0', 4).block() + padded("text")),
		"old-regular": closed(newRawHeader("dir/f", 0, 4).block() + padded("text")),
		"contiguous":  closed(newRawHeader("dir/f", '7', 4).block() + padded("text")),
		"pax-path":    closed(paxBlock("path=dir/f") + newRawHeader("short", '0', 4).block() + padded("text")),
		"aufs":        archived(l, directory(".wh..wh.plnk/", 0o700), file(".wh..wh.aufs", ""), file(".wh..wh.plnk/1.2", ""), file("dir/f", "text")),
	}
	for name, tar := range cases {
		key := storage.SnapshotKey("odd-" + name)
		if err := l.tryLayer(key, "", tar); err != nil {
			l.Errorf("%s: %w", name, err)
			continue
		}
		l.look(key, func(root string) error {
			return errors.Join(want(root, "dir/f", "text"), wantAbsent(root, ".wh..wh.plnk"), wantAbsent(root, ".wh..wh.aufs"))
		})
	}
	l.layer("nothing", "", archived(l))
	l.layer("no-bytes", "", nil)
}

func applyCounts(l *storageLab) {
	a := l.applier()
	l.prepare("a", "")
	res, err := a.Apply(l.ctx, "a", bytes.NewReader(archived(l, directory("d/", 0o755), file("d/f", "12345"), file("g", "67"), symlink("l", "g"), file("d/.wh.x", ""))))
	l.NoError(err, "apply")
	if res.Bytes != 7 || res.Entries != 5 {
		l.Errorf("apply counted %+v, want 7 bytes, 5 entries", res)
	}
}

func applyWrong(l *storageLab) {
	a := l.applier()
	l.base()
	l.view("v", "base")
	tar := archived(l, file("f", ""))
	_, err := a.Apply(l.ctx, "nobody", bytes.NewReader(tar))
	l.ErrorIs(err, errdefs.ErrNotFound, "apply to an unknown snapshot")
	for _, key := range []storage.SnapshotKey{"v", "base"} {
		_, err = a.Apply(l.ctx, key, bytes.NewReader(tar))
		l.ErrorIs(err, errdefs.ErrFailedPrecondition, "apply to "+string(key))
	}
}

func malformed(l *storageLab) {
	whole := archived(l, file("first", "1"), file("big", strings.Repeat("x", 100000)))
	broken := map[string][]byte{
		"cut in a header":  whole[:1024+100],
		"cut in a file":    whole[:1024+512+5000],
		"no archive":       []byte(strings.Repeat("not a tar archive\n", 100)),
		"bad checksum":     append([]byte("x"), whole[1:]...),
		"unknown type":     closed(newRawHeader("f", 'Z', 0).block()),
		"link to nothing":  archived(l, hardlink("a", "nothing")),
		"root a file":      archived(l, file(".", "")),
		"above the root":   archived(l, file("../f", "")),
		"whiteout of none": archived(l, file("d/.wh.", "")),
		"whiteout of up":   archived(l, file("d/.wh...", "")),
	}
	for what, tar := range broken {
		err := l.tryLayer("broken", "", tar)
		if err == nil {
			l.Errorf("%s: accepted", what)
			l.NoError(l.d.Remove(l.ctx, "broken"), "remove")
		} else if l.has(storage.CapApply) && !errdefs.IsInvalidArgument(err) {
			l.Errorf("%s: error %w, want class %q", what, err, errdefs.ErrInvalidArgument)
		}
		l.layer("whole", "", whole)
		l.look("whole", func(root string) error { return want(root, "first", "1") })
		l.NoError(l.d.Remove(l.ctx, "whole"), "remove")
	}
}

func applyAtOnce(l *storageLab) {
	l.applier()
	const layers = 8
	errs := make([]error, layers)
	var all sync.WaitGroup
	for i := range layers {
		key := storage.SnapshotKey(fmt.Sprintf("extract-%d", i))
		l.prepare(key, "")
		var entries []entry
		for j := range 50 {
			entries = append(entries, file(fmt.Sprintf("layer%d/f%d", i, j), strings.Repeat(fmt.Sprint(i), 10000)))
		}
		tar := archived(l, append(entries, file("last", fmt.Sprint(i)))...)
		all.Go(func() { _, errs[i] = l.applier().Apply(l.ctx, key, bytes.NewReader(tar)) })
	}
	all.Wait()
	l.NoError(errors.Join(errs...), "apply at once")
	var parent storage.SnapshotKey
	for i := range layers {
		name := storage.SnapshotKey(fmt.Sprintf("layer-%d", i))
		l.NoError(l.d.Commit(l.ctx, name, storage.SnapshotKey(fmt.Sprintf("extract-%d", i)), storage.CommitOptions{Parent: parent}), "commit")
		parent = name
	}
	l.look(parent, func(root string) error {
		errs := []error{want(root, "last", fmt.Sprint(layers-1))}
		for i := range layers {
			errs = append(errs, want(root, fmt.Sprintf("layer%d/f49", i), strings.Repeat(fmt.Sprint(i), 10000)))
		}
		return errors.Join(errs...)
	})
}

func applyAgain(l *storageLab) {
	a := l.applier()
	tar := archived(l, directory("d/", 0o700), file("d/f", "text"), hardlink("g", "d/f"), symlink("l", "d"), file("implicit/f", ""))
	var trees []map[string]string
	for _, times := range []int{1, 3} {
		key := l.fresh("a")
		mounts := l.prepare(key, "")
		for range times {
			_, err := a.Apply(l.ctx, key, bytes.NewReader(tar))
			l.NoError(err, "apply")
		}
		l.inside(mounts, func(root string) error {
			tree, err := scan(root)
			delete(tree, "")         // the times of these are
			delete(tree, "implicit") // nobody's
			trees = append(trees, tree)
			return err
		})
	}
	l.NoError(sameTree(trees[1], trees[0]), "applied three times")
}

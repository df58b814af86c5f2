package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// must ends the test on an error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// makeTree fills dir with one of everything.
func makeTree(t testing.TB, dir string) {
	t.Helper()
	write := func(name, text string) error {
		return errors.Join(os.MkdirAll(filepath.Dir(dir+"/"+name), 0o755), os.WriteFile(dir+"/"+name, []byte(text), 0o644))
	}
	must(t,
		write("etc/conf", "a"), write("etc/sub/x", "x"), write("bin/su", "su"), os.Chmod(dir+"/bin/su", 0o755|os.ModeSetuid),
		os.Link(dir+"/bin/su", dir+"/sbin"), os.Symlink("bin", dir+"/link"), os.Link(dir+"/link", dir+"/link2"),
		unix.Mkfifo(dir+"/fifo", 0o600), unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		os.Lchown(dir+"/etc/conf", 1000, 70000), unix.Setxattr(dir+"/etc", "user.note", []byte("a\x00b"), 0),
		write(strings.Repeat("n", 255)+"/"+strings.Repeat("m", 255), strings.Repeat("big", 100000)), write("raw\xff\xfe", ""),
		os.Mkdir(dir+"/tmp", 0o755), os.Chmod(dir+"/tmp", 0o777|os.ModeSticky),
		os.Chtimes(dir+"/etc", time.Unix(1, 2), time.Unix(3, 4)), os.Chtimes(dir+"/etc/sub", time.Time{}, time.Unix(1e9, 0)),
	)
}

// packed is a canonical description of a tree.
func packed(t testing.TB, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, Pack(t.Context(), &b, dir))
	return b.Bytes()
}

func unpacked(t testing.TB, layer []byte, dir string, mode Whiteouts) Result {
	t.Helper()
	res, err := Unpack(t.Context(), dir, bytes.NewReader(layer), Options{Whiteouts: mode})
	must(t, err)
	return res
}

func names(t testing.TB, layer []byte) []string {
	t.Helper()
	var names []string
	for tr := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		must(t, err)
		names = append(names, h.Name)
	}
}

func TestPackedTreesUnpackToTheSame(t *testing.T) {
	tree := t.TempDir()
	makeTree(t, tree)
	layer := packed(t, tree)
	for _, mode := range []Whiteouts{Delete, Overlay} {
		copied := t.TempDir()
		res := unpacked(t, layer, copied, mode)
		if !bytes.Equal(packed(t, copied), layer) {
			t.Errorf("mode %d: the copy differs: %q, not %q", mode, names(t, packed(t, copied)), names(t, layer))
		}
		if !res.Pending.Empty() {
			t.Errorf("mode %d: pending is %v", mode, res.Pending)
		}
	}
}

// change changes a bit of everything in a tree of makeTree's.
func change(t testing.TB, dir string) {
	t.Helper()
	must(t,
		os.WriteFile(dir+"/etc/conf", []byte("b"), 0o600), os.RemoveAll(dir+"/etc/sub"), os.WriteFile(dir+"/etc/sub", []byte("now a file"), 0o600),
		os.Remove(dir+"/fifo"), os.Mkdir(dir+"/fifo", 0o700), os.WriteFile(dir+"/fifo/in", nil, 0o600),
		os.Link(dir+"/bin/su", dir+"/tmp/su"), os.Remove(dir+"/null"), os.Chmod(dir+"/tmp", 0o700),
		os.Remove(dir+"/link"), os.Symlink("elsewhere", dir+"/link"), unix.Removexattr(dir+"/etc", "user.note"),
	)
}

func TestTheDiffOfTwoTreesMakesOneIntoTheOther(t *testing.T) {
	before, after := t.TempDir(), t.TempDir()
	makeTree(t, before)
	unpacked(t, packed(t, before), after, Delete)
	change(t, after)
	var diff bytes.Buffer
	must(t, Diff(t.Context(), &diff, before, after))
	for _, name := range names(t, diff.Bytes()) {
		if strings.HasPrefix(name, "nnn") || strings.HasPrefix(name, "raw") {
			t.Errorf("the diff holds %q, which did not change", name)
		}
	}
	unpacked(t, diff.Bytes(), before, Delete)
	if got, want := packed(t, before), packed(t, after); !bytes.Equal(got, want) {
		t.Errorf("the trees differ: %q, not %q", names(t, got), names(t, want))
	}
	diff.Reset()
	must(t, Diff(t.Context(), &diff, before, after))
	if left := names(t, diff.Bytes()); len(left) != 0 {
		t.Errorf("the second diff holds %q", left)
	}
}

func TestTheDiffOfTwoTreesFindsChangesThatTimesHide(t *testing.T) {
	before, after := t.TempDir(), t.TempDir()
	whole := time.Unix(1e9, 0) // as archives without parts of a second have it
	for _, dir := range []string{before, after} {
		must(t, os.WriteFile(dir+"/same", []byte("same"), 0o644), os.WriteFile(dir+"/other", []byte(dir[len(dir)-3:]), 0o644))
		must(t, os.Chtimes(dir+"/same", whole, whole), os.Chtimes(dir+"/other", whole, whole), os.Chtimes(dir, whole, whole))
	}
	var diff bytes.Buffer
	must(t, Diff(t.Context(), &diff, before, after))
	if got := names(t, diff.Bytes()); len(got) != 1 || got[0] != "other" {
		t.Errorf("the diff holds %q, want other", got)
	}
}

func TestErrorsNameTheEntry(t *testing.T) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	must(t, tw.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "some/link", Linkname: "nowhere"}), tw.Close())
	_, err := Unpack(t.Context(), t.TempDir(), &b, Options{})
	var entry *EntryError
	var bad *InvalidError
	if !errors.As(err, &entry) || entry.Entry != "some/link" || !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
	if _, err := Unpack(t.Context(), t.TempDir()+"/nowhere", &b, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unpack to nowhere: %v", err)
	}
}

func TestAFileWithTheNameOfAWhiteoutCannotBePacked(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/.wh.x", nil, 0o600))
	if err := Pack(t.Context(), io.Discard, dir); err == nil || !strings.Contains(err.Error(), ".wh.x") {
		t.Errorf("got %v", err)
	}
}

func TestRemoveAllIsPacedAndEndsWithItsContext(t *testing.T) {
	dir := t.TempDir() + "/tree"
	must(t, os.Mkdir(dir, 0o755))
	for _, name := range []string{"a", "b", "c"} {
		must(t, os.WriteFile(dir+"/"+name, nil, 0o600))
	}
	stop := errors.New("enough")
	calls := 0
	err := RemoveAll(t.Context(), dir, func(context.Context) error {
		if calls++; calls == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := RemoveAll(ctx, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	must(t, RemoveAll(t.Context(), dir, nil), RemoveAll(t.Context(), dir, nil), RemoveAll(t.Context(), dir+"/not/there", nil))
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tree is there: %v", err)
	}
}

func TestRemoveAllGoesDeeperThanDescriptorsLast(t *testing.T) {
	dir := t.TempDir() + "/tree"
	must(t, os.Mkdir(dir, 0o755))
	fd, err := openDir(dir)
	must(t, err)
	for range 3 * removeDepth {
		must(t, unix.Mkdirat(fd, "d", 0o755), unix.Mknodat(fd, ".strake-moved-1", unix.S_IFREG|0o600, 0))
		sub, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err, unix.Close(fd))
		fd = sub
	}
	must(t, unix.Close(fd), RemoveAll(t.Context(), dir, nil))
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tree is there: %v", err)
	}
}

// TestManyDirectoryNamesAreBounded gives more names than are kept in mind.
func TestManyDirectoryNamesAreBounded(t *testing.T) {
	u := &unpacker{ctx: t.Context(), implicit: map[uint64]string{}, hiding: map[uint64]string{}}
	name := strings.Repeat("n", 4000)
	for i := range uint64(maxNames/len(name)) - 1 {
		u.implicit[i] = name
		must(t, u.keep(name))
	}
	must(t, u.keep(name))
	u.implicit[1<<40], u.implicit[1<<41], u.implicit[1<<42] = name, name, name
	if err := u.keep(name); err == nil {
		t.Error("more than the limit was kept")
	}
}

// TestDirectoriesKeepTheirTimes has entries come to directories long after
// these had theirs, by several names, more directories than are kept open.
func TestDirectoriesKeepTheirTimes(t *testing.T) {
	at := func(i int) time.Time { return time.Unix(1e9+int64(i), int64(i)) }
	const many = 3 * openDirsMax
	for name, mode := range map[string]Whiteouts{"delete": Delete, "overlay": Overlay} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			must(t, os.MkdirAll(root+"/0/sub", 0o700), os.WriteFile(root+"/0/sub/lower", nil, 0o600), os.Chown(root+"/0/sub", 5, 6))
			var b bytes.Buffer
			tw := tar.NewWriter(&b)
			add := func(h tar.Header) {
				h.Format = tar.FormatPAX
				must(t, tw.WriteHeader(&h))
			}
			for i := range many {
				add(tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprint(i), Mode: 0o751, ModTime: at(i)})
				add(tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprintf("to%d", i), Linkname: fmt.Sprint(i)})
			}
			add(tar.Header{Typeflag: tar.TypeDir, Name: "0/sub", Mode: 0o2755, ModTime: at(-1)})
			for round := range 2 {
				for i := range many {
					add(tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%d/a%d", i, round)})
					add(tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("to%d/b%d", i, round)})
				}
			}
			add(tar.Header{Typeflag: tar.TypeReg, Name: "0/" + opaqueMarker})
			must(t, tw.Close())
			unpacked(t, b.Bytes(), root, mode)
			check := func(name string, want time.Time, perm uint32) {
				var st unix.Stat_t
				must(t, unix.Lstat(root+"/"+name, &st))
				if got := time.Unix(st.Mtim.Unix()); !got.Equal(want) || st.Mode&0o7777 != perm || st.Uid != 0 || st.Gid != 0 {
					t.Errorf("%s: modified %v, want %v; mode %o, owner %d:%d", name, got, want, st.Mode, st.Uid, st.Gid)
				}
			}
			for i := range many {
				check(fmt.Sprint(i), at(i), 0o751)
			}
			check("0/sub", at(-1), 0o2755)
		})
	}
}

package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// alone runs f on a thread with a mount namespace of its own, which ends with
// it.
func alone(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// makeLayers makes n layers with one file each, below a directory with an
// awkward name, and returns their paths, top first.
func makeLayers(t *testing.T, n int) (lower []string, upper, work string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), `a:b,c\d e`)
	for i := range n {
		layer := filepath.Join(dir, strings.Repeat("long", 20), fmt.Sprint(i))
		mustMkdir(t, layer)
		if err := os.WriteFile(layer+"/"+fmt.Sprint("f", i), []byte(fmt.Sprint(i)), 0o600); err != nil {
			t.Fatal(err)
		}
		lower = append([]string{layer}, lower...)
	}
	upper, work = dir+"/upper", dir+"/work"
	mustMkdir(t, upper)
	mustMkdir(t, work)
	return lower, upper, work
}

func mustMkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func overlayOf(lower []string, upper, work string) Mount {
	var escaped []string
	for _, dir := range lower {
		escaped = append(escaped, EscapeLayer(dir))
	}
	opts := []string{"lowerdir=" + strings.Join(escaped, ":")}
	if upper != "" {
		opts = append(opts, "upperdir="+EscapeLayer(upper), "workdir="+EscapeLayer(work))
	}
	return Mount{Type: "overlay", Source: "overlay", Options: append(opts, "nodev", "index=off")}
}

func checkLayers(root string, n int) error {
	var errs []error
	for i := range n {
		b, err := os.ReadFile(fmt.Sprint(root, "/f", i))
		if err == nil && string(b) != fmt.Sprint(i) {
			err = fmt.Errorf("f%d holds %q", i, b)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, os.WriteFile(root+"/new", nil, 0o600))...)
}

func TestOverlayOfAnyNumberOfLayers(t *testing.T) {
	for _, n := range []int{1, 2, 60, 120, maxLower} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			lower, upper, work := makeLayers(t, n)
			root := t.TempDir()
			alone(t, func() error {
				return With([]Mount{overlayOf(lower, upper, work)}, root, func(root string) error { return checkLayers(root, n) })
			})
			if _, err := os.Stat(upper + "/new"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOverlayOnKernelsWithoutDescriptors(t *testing.T) {
	lower, upper, work := makeLayers(t, maxLower)
	root := t.TempDir()
	alone(t, func() error {
		l, err := parseLayers(overlayOf(lower, upper, work).Options)
		if err != nil {
			return err
		}
		l.data = []string{"index=off"}
		target, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(target)
		before, err := os.Getwd()
		if err != nil {
			return err
		}
		if err := l.mountShort("overlay", target, unix.MS_NODEV); err != nil {
			return err
		}
		if after, err := os.Getwd(); err != nil || after != before {
			return fmt.Errorf("the working directory was %s, is %s: %w", before, after, err)
		}
		return errors.Join(checkLayers(root, maxLower), Unmount(root))
	})
}

func TestOverlayOfTooManyLayersSaysSo(t *testing.T) {
	err := Do(overlayOf(make([]string, maxLower+1), "/u", "/w"), t.TempDir())
	if err == nil {
		t.Fatal("no error")
	}
	lower := strings.Split(strings.Repeat("/some/where ", maxLower+1), " ")[:maxLower+1]
	err = Do(overlayOf(lower, "/u", "/w"), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "501 layers") {
		t.Fatalf("got %v", err)
	}
}

func TestDetachedOverlayIsSeenThroughItsDescriptorOnly(t *testing.T) {
	lower, upper, work := makeLayers(t, 2)
	fd, err := Detached(overlayOf(lower, upper, work))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkdirat(fd, "made", 0o755); err != nil {
		t.Error(err)
	}
	if err := unix.Close(fd); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(upper + "/made"); err != nil {
		t.Error(err)
	}
}

func TestBindKeepsFlagsThatNoOptionNames(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"tmpfs", "root/sub"} {
		mustMkdir(t, filepath.Join(dir, sub))
	}
	alone(t, func() error {
		err := All([]Mount{
			{Type: "tmpfs", Source: "tmpfs", Target: "tmpfs", Options: []string{"nosuid", "nodev", "size=1m"}},
			{Type: "bind", Source: dir + "/tmpfs", Target: "root/sub", Options: []string{"rbind", "ro", "rprivate"}},
		}, dir)
		if err != nil {
			return err
		}
		var st unix.Statfs_t
		if err := unix.Statfs(dir+"/root/sub", &st); err != nil {
			return err
		}
		if want := int64(unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV); st.Flags&want != want {
			return fmt.Errorf("flags are %#x, want %#x among them", st.Flags, want)
		}
		if err := os.WriteFile(dir+"/root/sub/f", nil, 0o600); !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("write to a read-only bind: %w", err)
		}
		return os.WriteFile(dir+"/tmpfs/f", nil, 0o600)
	})
}

func TestRecursiveReadOnlyReachesMountsBelow(t *testing.T) {
	dir := t.TempDir()
	mustMkdir(t, dir+"/src/below")
	mustMkdir(t, dir+"/dst")
	alone(t, func() error {
		err := All([]Mount{
			{Type: "tmpfs", Source: "tmpfs", Target: "src/below"},
			{Type: "bind", Source: dir + "/src", Target: "dst", Options: []string{"rbind", "rro"}},
		}, dir)
		if err != nil {
			return err
		}
		if err := os.WriteFile(dir+"/dst/below/f", nil, 0o600); !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("write below a recursively read-only bind: %w", err)
		}
		return nil
	})
}

func TestTargetsStayBelowTheRoot(t *testing.T) {
	dir := t.TempDir()
	mustMkdir(t, dir+"/root/etc")
	mustMkdir(t, dir+"/outside")
	if err := os.Symlink(dir+"/outside", dir+"/root/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../../etc", dir+"/root/up"); err != nil {
		t.Fatal(err)
	}
	alone(t, func() error {
		tmpfs := Mount{Type: "tmpfs", Source: "tmpfs", Target: "link"}
		if err := Do(tmpfs, dir+"/root"); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("mount through an absolute link: %w", err)
		}
		tmpfs.Target = "up"
		if err := Do(tmpfs, dir+"/root"); err != nil {
			return err
		}
		return os.WriteFile(dir+"/root/etc/f", nil, 0o600)
	})
	if _, err := os.Stat(dir + "/root/etc/f"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link did not lead to etc inside the root: %v", err)
	}
}

func TestAFailureUndoesTheMountsBeforeIt(t *testing.T) {
	dir := t.TempDir()
	mustMkdir(t, dir+"/sub")
	alone(t, func() error {
		err := All([]Mount{
			{Type: "tmpfs", Source: "tmpfs", Target: "sub"},
			{Type: "bind", Source: dir + "/nowhere", Target: "sub"},
		}, dir)
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), dir+"/nowhere") {
			return fmt.Errorf("got %w, want an error that names the source", err)
		}
		mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
		if strings.Contains(string(mounts), dir) {
			err = errors.Join(err, errors.New("a mount is left"))
		}
		return err
	})
}

func TestUnmountOfNothingIsNoError(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(Unmount(dir), Unmount(dir+"/nowhere")); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreSortedOut(t *testing.T) {
	o, err := parse("bind", []string{"rbind", "ro", "rw", "nosuid", "rslave", "rnodev", "defaults"})
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		bind: true, recursive: true, set: unix.MS_NOSUID, clear: unix.MS_RDONLY,
		propagation: unix.MS_SLAVE | unix.MS_REC, attrSet: unix.MOUNT_ATTR_NODEV,
	}
	if fmt.Sprint(o) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", o, want)
	}
	if _, err := parse("bind", []string{"size=1m"}); err == nil {
		t.Error("a bind mount took an option of a file-system")
	}
	if _, err := parse("tmpfs", []string{"a\x00b"}); err == nil {
		t.Error("an option with a NUL was taken")
	}
}

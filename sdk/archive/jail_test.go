package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// jail is a thread with a mount namespace and a root of its own: /proc, /dest,
// where archives are unpacked, and /outside, where nothing may change. What gets
// out of /dest is seen, and harms nothing.
type jail struct {
	work chan func()
}

func newJail(t testing.TB) *jail {
	t.Helper()
	root := t.TempDir()
	j := &jail{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		ready <- enterJail(root)
		for f := range j.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(j.work) })
	return j
}

func enterJail(root string) error {
	err := errors.Join(
		unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", root, "tmpfs", 0, "size=256m"),
		os.Mkdir(root+"/proc", 0o755),
		unix.Mount("/proc", root+"/proc", "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Chroot(root), unix.Chdir("/"),
	)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll("/outside/dir", 0o755), os.WriteFile("/outside/canary", []byte("sings"), 0o600),
		os.WriteFile("/outside/dir/f", nil, 0o600), os.Mkdir("/dest", 0o755))
}

// do runs f in the jail and waits for it.
func (j *jail) do(f func() error) error {
	done := make(chan error)
	j.work <- func() { done <- f() }
	return <-done
}

// confined runs f, which may fill /dest, and reports what changed elsewhere.
// Then /dest is emptied.
func (j *jail) confined(t testing.TB, f func() error) {
	t.Helper()
	err := j.do(func() error {
		before, err := surroundings()
		if err != nil {
			return err
		}
		err = f()
		after, lookErr := surroundings()
		if !maps.Equal(before, after) {
			err = errors.Join(err, fmt.Errorf("something got out: %v became %v", before, after))
		}
		return errors.Join(err, lookErr, RemoveAll(t.Context(), "/dest", nil), os.Mkdir("/dest", 0o755))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// surroundings describes all but /dest and /proc.
func surroundings() (map[string]string, error) {
	tree := map[string]string{}
	err := filepath.WalkDir("/", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == "/dest" || path == "/proc" {
			return fs.SkipDir
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if path == "/" { // its times change as /dest comes and goes
			st.Ctim, st.Mtim = unix.Timespec{}, unix.Timespec{}
		}
		tree[path] = fmt.Sprint(st.Ino, st.Mode, st.Uid, st.Gid, st.Size, st.Ctim, st.Mtim, st.Nlink)
		return nil
	})
	return tree, err
}

package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// firstID is what root is mapped to in these tests.
const firstID = 500000

// namespace returns the file of a user namespace that maps 1,000 ids from
// firstID on. It is there until the test ends.
func namespace(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	ids := []syscall.SysProcIDMap{{HostID: firstID, Size: 1000}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(cmd.Process.Kill(), cmd.Wait()) })
	return fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid)
}

func owner(path string) (uint32, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return st.Uid, err
}

func wantOwner(path string, want uint32) error {
	if got, err := owner(path); err != nil || got != want {
		return fmt.Errorf("%s belongs to %d (%v), want %d", path, got, err, want)
	}
	return nil
}

// What root of the namespace does in the overlay is, on disk, what root did:
// the same layers serve those with and without a mapping.
func TestOverlayMapsOwnersBothWays(t *testing.T) {
	lower, upper, work := makeLayers(t, 3)
	m := overlayOf(lower, upper, work)
	root, ns := t.TempDir(), namespace(t)
	m.Options = append(m.Options, IDMap+"="+ns)
	alone(t, func() error {
		if err := Do(m, root); err != nil {
			return err
		}
		if b, err := mounts(); err != nil || strings.Contains(b, filepath.Base(upper)+" /") {
			return fmt.Errorf("a layer is still covered: %w", err)
		}
		inside := exec.Command("nsenter", "--user="+ns, "--setuid=0", "--setgid=0", "sh", "-ec",
			"cat f0; rm f0; echo more >> f1; echo new > new; mkdir d; chown 7:8 d; mv f2 d/")
		inside.Dir = root
		if out, err := inside.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return errors.Join(checkCreds(), wantOwner(root, firstID), wantOwner(root+"/f1", firstID), wantOwner(root+"/new", firstID), wantOwner(root+"/d", firstID+7))
	})
	err := errors.Join(wantOwner(upper+"/f0", 0), wantOwner(upper+"/f1", 0), wantOwner(upper+"/new", 0), wantOwner(upper+"/d", 7), wantOwner(upper+"/d/f2", 0))
	if err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(lower[len(lower)-1] + "/f0"); err != nil || string(b) != "0" {
		t.Errorf("the layer below changed: %q, %v", b, err)
	}
}

// checkCreds checks that the thread is what it was.
func checkCreds() error {
	uid, err := unix.SetfsuidRetUid(0)
	if err != nil || uid != 0 {
		return fmt.Errorf("the thread is left with fsuid %d, %w", uid, err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&hdr, &caps[0]); err != nil || caps[0].Effective != caps[0].Permitted {
		return fmt.Errorf("the thread is left with capabilities %x of %x, %w", caps[0].Effective, caps[0].Permitted, err)
	}
	return nil
}

// A bind mount is mapped as it is bound: with the mounts below it or without.
func TestBindMapsOwners(t *testing.T) {
	for bind, below := range map[string]func(root string) error{
		"rbind": func(root string) error { return wantOwner(root+"/below/g", firstID) },
		"bind":  func(root string) error { return wantAbsent(root + "/below/g") },
	} {
		t.Run(bind, func(t *testing.T) {
			dir, other, root, ns := t.TempDir(), t.TempDir(), t.TempDir(), namespace(t)
			mustMkdir(t, dir+"/below")
			if err := errors.Join(os.WriteFile(dir+"/f", nil, 0o600), os.WriteFile(other+"/g", nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			alone(t, func() error {
				if err := Do(Mount{Type: "bind", Source: other, Target: "below"}, dir); err != nil {
					return err
				}
				if err := Do(Mount{Type: "bind", Source: dir, Options: []string{bind, "ro", IDMap + "=" + ns}}, root); err != nil {
					return err
				}
				if err := os.WriteFile(root+"/f", nil, 0); !errors.Is(err, unix.EROFS) {
					return fmt.Errorf("a write where it is read-only: %v, want %v", err, unix.EROFS) //nolint:errorlint // may be nil
				}
				return errors.Join(wantOwner(root+"/f", firstID), below(root), wantOwner(dir+"/f", 0), wantOwner(other+"/g", 0))
			})
		})
	}
}

func wantAbsent(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there (%v)", path, err) //nolint:errorlint // may be nil
	}
	return nil
}

// What is refused leaves nothing mounted: neither the target nor a layer that
// was covered before one that cannot be.
func TestWhatCannotBeMappedIsRefused(t *testing.T) {
	root, apart, ns := t.TempDir(), t.TempDir(), namespace(t)
	lower, upper, work := makeLayers(t, 2)
	mapped := func(m Mount) Mount {
		m.Options = append(m.Options, IDMap+"="+ns)
		return m
	}
	const unfit = "cannot map the owners of files on this file system"
	alone(t, func() error {
		before, err := mounts()
		if err != nil {
			return err
		}
		for _, c := range []struct {
			m    Mount
			want string
		}{
			{mapped(Mount{Type: "tmpfs", Source: "tmpfs"}), "for bind mounts and overlays only"},
			{mapped(Mount{Type: "bind", Source: "/etc", Options: []string{"remount", "ro"}}), "not with remount"},
			{mapped(Mount{Type: "bind", Source: "/proc"}), unfit},
			{mapped(overlayOf(append(lower, "/proc"), "", "")), "layer /proc: map owners: "},
			{mapped(overlayOf([]string{"/proc"}, upper, work)), unfit},
			{mapped(overlayOf(lower, upper, apart)), "are not in one directory"},
			{Mount{Type: "bind", Source: "/etc", Options: []string{IDMap + "=/proc/1/ns/none"}}, "user namespace /proc/1/ns/none: open"},
		} {
			if err := Do(c.m, root); err == nil || !strings.Contains(err.Error(), c.want) {
				return fmt.Errorf("%v: %v, want %q", c.m, err, c.want) //nolint:errorlint // for people
			}
			after, err := mounts()
			if left, same := strings.CutPrefix(after, before); err != nil || !same || left != "" {
				return fmt.Errorf("%v: is refused and leaves mounts (%v): %s", c.m, err, left) //nolint:errorlint // may be nil
			}
		}
		return nil
	})
}

// mounts is what is mounted where this thread is.
func mounts() (string, error) {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	return string(b), err
}

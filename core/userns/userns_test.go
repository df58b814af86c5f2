package userns

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

func TestMakeMapsAndOwnsAndLeavesNothing(t *testing.T) {
	ids := user.IdentityMapping{UIDMaps: []user.IDMap{{ParentID: 500000, Count: 1000}}, GIDMaps: []user.IDMap{{ParentID: 600000, Count: 2000}}}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var child int
	err := Make(ids, unix.CLONE_NEWNET, func(pid int) error {
		child = pid
		for file, want := range map[string]string{"uid_map": "0 500000 1000", "gid_map": "0 600000 2000", "setgroups": "allow"} {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if got := strings.Join(strings.Fields(string(b)), " "); err != nil || got != want {
				t.Errorf("%s: %q, %v, want %q", file, got, err, want)
			}
		}
		its, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
		if err != nil {
			return err
		}
		defer its.Close()
		owner, err := Owner(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			return err
		}
		defer owner.Close()
		if same, err := Same(its, owner); err != nil || !same {
			t.Errorf("the network namespace belongs to another user namespace, %v", err)
		}
		mine, err := Owner("/proc/self/ns/net")
		if err != nil {
			return err
		}
		defer mine.Close()
		if same, err := Same(its, mine); err != nil || same {
			t.Errorf("the test's own namespace belongs to it, %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", child)); err == nil {
		t.Error("its process is left")
	}
}

// etc is a host's accounts, and who has which subordinate ids.
var etc = map[string]string{
	"passwd": "some:x:1000:1000::/:\ndockremap:x:1001:1001::/:\npoor:x:1002:1002::/:\nhalf:x:1003:1003::/:\n" +
		"uids:x:1004:1004::/:\ngids:x:1005:1005::/:\nnone:x:1006:1006::/:\nword:x:1007:1007::/:\nwraps:x:1008:1008::/:\nbeyond:x:1009:1009::/:\n",
	"group": "some:x:2000:\n",
	"subuid": "some:100000:1000\nsome:300000:500\ndockremap:200000:1000\nhalf:400000:1000\n" +
		"uids:0:1000\ngids:500000:1000\nnone:600000:0\nword:many:1000\nwraps:4294967296:1000\nbeyond:4294967000:1000\n",
	"subgid": "1000:110000:1000\ndockremap:210000:1000\n" +
		"uids:500000:1000\ngids:0:1000\nnone:600000:1000\nword:500000:1000\nwraps:500000:1000\nbeyond:500000:1000\n",
}

// onHost calls f where etc is in /etc.
func onHost(t *testing.T, f func()) {
	t.Helper()
	dir, done := t.TempDir(), make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		for name, text := range etc {
			if err == nil {
				err = errors.Join(os.WriteFile(dir+"/"+name, []byte(text), 0o600), unix.Mount(dir+"/"+name, "/etc/"+name, "", unix.MS_BIND, ""))
			}
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestLoadFindsTheMappingOfAUser(t *testing.T) {
	some := user.IdentityMapping{
		UIDMaps: []user.IDMap{{ParentID: 100000, Count: 1000}, {ID: 1000, ParentID: 300000, Count: 500}},
		GIDMaps: []user.IDMap{{ParentID: 110000, Count: 1000}},
	}
	dockremap := user.IdentityMapping{UIDMaps: []user.IDMap{{ParentID: 200000, Count: 1000}}, GIDMaps: []user.IDMap{{ParentID: 210000, Count: 1000}}}
	onHost(t, func() {
		if ids, err := Load(""); ids != nil || err != nil {
			t.Errorf("no value: %v, %v", ids, err)
		}
		for value, want := range map[string]user.IdentityMapping{
			"some": some, "1000": some, "some:some": some, "1000:2000": some, "default": dockremap, "dockremap": dockremap,
		} {
			if ids, err := Load(value); err != nil || ids == nil || !reflect.DeepEqual(*ids, want) {
				t.Errorf("%s: %+v, %v, want %+v", value, ids, err, want)
			}
		}
	})
}

func TestLoadSaysWhatIsMissing(t *testing.T) {
	onHost(t, func() {
		for value, want := range map[string]string{
			"no-such-user": "useradd --system no-such-user",
			"4294967":      `user "4294967"`,
			"some:no-such": `group "no-such"`,
			"some:1000":    `group "1000"`,
			"poor":         "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 poor",
			"half":         "--add-subgids 100000-165535 half",
			"uids":         "1000 ids from 0 on", // the host's root
			"gids":         "1000 ids from 0 on",
			"none":         "0 ids from 600000 on",
			"word":         "1000 ids from 0 on",
			"wraps":        "1000 ids from 4294967296 on", // root, to the kernel
			"beyond":       "1000 ids from 4294967000 on",
		} {
			if ids, err := Load(value); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %+v, %v, want %q", value, ids, err, want)
			}
		}
	})
}

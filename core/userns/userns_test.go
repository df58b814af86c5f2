package userns

import (
	"fmt"
	"os"
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

func TestLoadSaysWhatIsMissing(t *testing.T) {
	if ids, err := Load(""); ids != nil || err != nil {
		t.Errorf("no value: %v, %v", ids, err)
	}
	for value, want := range map[string]string{
		"no-such-user":    "useradd --system no-such-user",
		"root:no-such-gr": `group "no-such-gr"`,
		"4294967":         `user "4294967"`,
	} {
		if _, err := Load(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}

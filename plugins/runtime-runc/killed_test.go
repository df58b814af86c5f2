package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strakehq/strake/sdk/runtime"
)

// dying is an OCI runtime that is killed while it creates a container, once
// there is something in the container's cgroup.
const dying = `#!/bin/sh
case " $* " in *" create "*) ;; *) exec runc "$@" ;; esac
runc "$@" &
while ! cat /sys/fs/cgroup/*CGROUP/cgroup.procs /sys/fs/cgroupCGROUP/cgroup.procs 2>/dev/null | grep -q .; do :; done
kill -9 $!
wait $!
exit 1
`

func TestNothingIsLeftOfARuntimeThatIsKilledHalfWay(t *testing.T) {
	x := newBench(t)
	script := filepath.Join(t.TempDir(), "dying")
	x.must(os.WriteFile(script, []byte(strings.ReplaceAll(dying, "CGROUP", x.parent+"/half")), 0o755))
	_, _, err := x.d.Create(t.Context(), runtime.CreateRequest{ID: "half", Bundle: x.bundle("half", "sleep", "1000"), Runtime: script})
	if err == nil {
		t.Fatal("created by a runtime that was killed")
	}
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		if left, err := filepath.Glob(pattern + x.parent + "/half"); err != nil || len(left) > 0 {
			t.Errorf("cgroups are left: %v %v", left, err)
		}
	}
	if pid, err := findShim("half"); err == nil {
		t.Errorf("shim %d is left", pid)
	}
	st, err := x.d.State(t.Context(), "half", "")
	if err == nil {
		t.Errorf("the container is %+v", st)
	}
	_, _, err = x.d.Create(t.Context(), runtime.CreateRequest{ID: "half", Bundle: x.bundle("half", "true")})
	x.must(err)
	x.delete("half")
}

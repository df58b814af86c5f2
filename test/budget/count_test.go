package budget

import (
	"slices"
	"strings"
	"testing"
)

func TestInterruptedLinesAndChildrenAreCountedForTheProgramThatMadeThem(t *testing.T) {
	seen := count(strings.Split(`10 execve("/opt/bin/straked", [...], 0x7ff /* 9 vars */) = 0
10 clone(child_stack=NULL, flags=CLONE_VM|CLONE_VFORK <unfinished ...>
11 execve("/opt/bin/strake-shim", [...], 0xc0 /* 2 vars */ <unfinished ...>
10 <... clone resumed>)                    = 11
11 <... execve resumed>)                   = 0
11 execve("/nowhere/runc", [...], 0xc0 /* 2 vars */) = -1 ENOENT (No such file or directory)
11 mount("overlay", "/x", ""..., 0, ""...) = 0
10 pwrite64(8</s/strake.db>, ""..., 8192, 16384) = 8192
10 fdatasync(8</s/strake.db> <unfinished ...>
11 +++ exited with 0 +++
10 <... fdatasync resumed>)                = 0
10 pwrite64(8</s/strake.db>, ""..., 4096, 4096) = 4096
10 fsync(8</s/strake.db>)                  = 0
10 sendto(9<NETLINK:[ROUTE:10]>, ""..., 60, 0, {sa_family=AF_NETLINK}, 12) = 60
10 sendto(9<UNIX-STREAM:[10]>, ""..., 60, 0, NULL, 0) = 60`, "\n"), 1)
	for _, x := range []struct {
		of        measure
		got, want []string
	}{
		{processes, seen.processes, []string{"straked executes /opt/bin/strake-shim"}},
		{fsyncs, seen.fsyncs, []string{"straked: fdatasync(8</s/strake.db>)"}},
		{transactions, seen.transactions, []string{`straked: pwrite64(8</s/strake.db>, ""..., 4096, 4096)`}},
		{mounts, seen.mounts, []string{`strake-shim: mount("overlay", "/x", ""..., 0, ""...)`}},
		{netlinks, seen.netlink, []string{`straked: sendto(9<NETLINK:[ROUTE:10]>, ""..., 60, 0, {sa_family=AF_NETLINK}, 12)`}},
	} {
		if !slices.Equal(x.got, x.want) {
			t.Errorf("%s: got %q, want %q", x.of, x.got, x.want)
		}
	}
}

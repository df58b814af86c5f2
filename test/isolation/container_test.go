package isolation

import (
	"flag"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

var withDocker = flag.Bool("docker", false, "compare with Debian's docker.io, with all runtimes")

const crun = "[runtimes.crun]\ndriver = \"runc\"\n[runtimes.crun.options]\nbinary = \"crun\"\n"

// rules are what a report must say: patterns by key. A key that ends in "*"
// stands for all that begin so; an empty pattern says that there is none.
type rules map[string]string

const (
	none   = "^0000000000000000$"
	some   = "^00000000a80425fb$"
	refuse = "^(EPERM|EACCES|EROFS|ENOENT|EINVAL)$"
)

// confined is what holds in every container that is not privileged.
func confined() rules {
	return rules{
		"status.CapInh": none, "status.CapAmb": none, "status.Seccomp": "^2$", "securebits": "^0 ok$",
		"ns.ipc": "^own$", "ns.mnt": "^own$", "ns.net": "^own$", "ns.pid": "^own$", "ns.uts": "^own$",
		"processes.others": "^0$", "unix.files": "^$", "unix.abstract": "^$", "cwd": "^/$", "key.*": "^(EPERM|0)$",
		"unshare.*": "^EPERM$", "clone.*": "^EPERM$", "personality.40000": "^EPERM$",
		"try.mount-*": "^EPERM$", "try.remount-*": "^EPERM$", "try.unmask-kcore": "^EPERM$", "try.unshare-*": "^EPERM$",
		"try.host-inode": "^EPERM$", "try.set-hostname": "^EPERM$", "try.io-uring": "^EPERM$", "try.priority": "^EACCES$",
		"try.raise-nofile": "^EPERM$", "try.lower-oom-score": "^EACCES$", "try.write-self": "^(ETXTBSY|EACCES|EROFS)$",
		"mknod.*": "^(mknod E[A-Z]+|open (EPERM|EACCES|ENXIO|ENODEV))$", "mknod.null": "", "mknod.tun": "",
		"socket.16.*": "", "socket.38.*": "^EPERM$", "socket.40.*": "^EPERM$", // netlink is for all; AF_ALG, AF_VSOCK for none
		"write./proc/sys/*": "", "write./sys/*": "", "write./proc/irq/*": "", "write./proc/sysrq-trigger": "",
		"path./proc/keys": "^(empty|ENOENT|EACCES) ", "path./proc/timer_list": "^(empty|ENOENT|EACCES) ", "path./proc/kcore": "^(empty|ENOENT|EACCES) ",
		"path./proc/interrupts": "^(empty|ENOENT|EACCES) ", "path./sys/firmware": "^(directory (empty|EACCES)|ENOENT|EACCES) ",
		"path./proc/sys/kernel/core_pattern": "EROFS|EACCES", "path./sys/kernel/uevent_helper": "EROFS|ENOENT|EACCES",
		// Above the hierarchies of cgroup v1 is a tmpfs of the container's own, as with Docker.
		"mount./sys/fs/cgroup": "^tmpfs |,ro super=", "mount./sys/fs/cgroup/*": ",ro super=", "cgroup.mkdir.cgroup": "", "cgroup.mkdir.*": refuse,
		"cgroup.release.*": refuse, "environment": "^(HOME )?HOSTNAME PATH$", "fd.*": `^(/dev/null|pipe|.*/std(out|err))$`,
		"mount./sys": "^sysfs .*ro", "mount./proc/sys": "^proc .*ro ", "limit.Max-core-file-size": "",
	}
}

// expectations are what each variant must say besides.
func expectations() map[string]rules {
	return map[string]rules{
		"default":   {"status.CapEff": some, "status.CapBnd": some, "status.NoNewPrivs": "^0$", "try.write-root": "^ok$"},
		"read-only": {"status.CapEff": some, "try.write-root": "^EROFS$", "mount./": "^overlay .*ro"},
		"user": {
			"status.CapEff": none, "status.CapPrm": none, "status.CapBnd": some, "status.Uid": "^1000 1000 1000 1000$", "status.Groups": "^1000$",
			"try.set-uid-0": "^EPERM$", "try.set-groups": "^EPERM$", "try.raw-socket": "^EPERM$", "try.chroot": "^EPERM$",
		},
		"cap-drop-all": {
			"status.CapEff": none, "status.CapPrm": none, "status.CapBnd": none, "try.set-groups": "^EPERM$",
			"try.raw-socket": "^EPERM$", "try.chroot": "^EPERM$", "mknod.*": "^mknod EPERM$", "mknod.whiteout": "",
		},
		"no-new-privileges": {"status.CapEff": some, "status.NoNewPrivs": "^1$"},
	}
}

func TestContainersReachNoMoreThanTheirFlagsGive(t *testing.T) {
	h := testkit.Start(t, testkit.WithCrun(), testkit.WithConfig(crun))
	path := probePath(t, h)
	h.MustDocker("pull", "-q", "busybox")
	other := h.MustDocker("run", "-d", "busybox", "sleep", "1000") // somebody to see
	reports := map[string]report{}
	for name, flags := range variants() {
		runtimes := []string{"runc"}
		if name == "default" || *withDocker {
			runtimes = append(runtimes, "crun")
		}
		for _, rt := range runtimes {
			got := look(t, h.Docker, path, "busybox", append([]string{"--runtime", rt}, flags...)...).relative(t)
			reports[name+" "+rt] = got
			if name == "privileged" {
				privileged().check(t, name+" "+rt, got)
				continue
			}
			want := confined()
			maps.Copy(want, expectations()[name])
			want.check(t, name+" "+rt, got)
			if name == "default" && rt == "runc" {
				checkCalls(t, got, look(t, h.Docker, path, "busybox", "--security-opt", "seccomp=unconfined"))
			}
		}
	}
	if *withDocker {
		compareWithDocker(t, h, path, reports)
	}
	h.MustDocker("rm", "-f", other)
}

// privileged is what even a privileged container must say: it has all that the
// daemon has, and still namespaces of its own.
func privileged() rules {
	return rules{
		"status.CapInh": none, "status.CapAmb": none, "status.Seccomp": "^0$", "ns.mnt": "^own$", "ns.net": "^own$", "ns.pid": "^own$", "ns.ipc": "^own$",
		"processes.others": "^0$", "unix.files": "^$", "unix.abstract": "^$", "cwd": "^/$", "fd.*": `^(/dev/null|pipe|.*/std(out|err))$`,
		"try.mount-tmpfs": "^ok$",
	}
}

// check compares a report with the rules.
func (w rules) check(t *testing.T, name string, got report) {
	t.Helper()
	exact := func(key string) bool { _, ok := w[key]; return ok && !strings.HasSuffix(key, "*") }
	for key, pattern := range w {
		keys := []string{key}
		if prefix, all := strings.CutSuffix(key, "*"); all {
			keys = slices.DeleteFunc(got.prefixed(prefix), exact)
		}
		for _, k := range keys {
			v, found := got[k]
			switch {
			case pattern == "" && strings.HasPrefix(k, "write.") && found:
				t.Errorf("%s: %s can be written", name, strings.TrimPrefix(k, "write."))
			case pattern != "" && !regexp.MustCompile(pattern).MatchString(v):
				t.Errorf("%s: %s is %q, want %s", name, k, v, pattern)
			}
		}
	}
}

// relative replaces the namespaces' numbers by "own" and "host".
func (r report) relative(t *testing.T) report {
	t.Helper()
	for _, k := range r.prefixed("ns.") {
		mine, err := os.Readlink("/proc/self/ns/" + strings.TrimPrefix(k, "ns."))
		if err != nil {
			t.Fatal(err)
		}
		if r[k] == mine {
			r[k] = "host"
		} else {
			r[k] = "own"
		}
	}
	return r
}

package isolation

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

// difference is one that is known: which answers it covers, and why it is so.
type difference struct {
	key    string // pattern
	strake string // pattern; empty: any
	docker string // pattern; empty: any
	reason string
}

// differences lists them. Stricter are those in Strake's favour, equal those
// that make none for who is inside, newer the calls that Debian's docker.io does
// not know yet.
func differences() []difference {
	return []difference{
		{`^call\.\d+$|^socket\.|^try\.io-uring$`, "^(EPERM|ENOSYS)$", "", "stricter: today's profile of Docker allows it no longer (io_uring, AF_ALG, AF_VSOCK and other families), or libseccomp does not know the call yet"},
		{`^call\.\d+$`, "", "^(EPERM|ENOSYS)$", "newer: today's profile of Docker allows the call"},
		{`^fd\.[12]$`, `/std(out|err)$`, "^pipe$", "equal: a named FIFO instead of a pipe, so that the shim may die"},
		{`^mount\./$`, " private$", " master$", "stricter: nothing propagates into the root"},
		{`^mount\./proc/interrupts$`, "", "^$", "stricter: masked since Docker 27"},
		{`^path\./proc/interrupts$`, "^(empty|EACCES|ENOENT)", "bytes", "stricter: masked since Docker 27"},
		{`^write\./proc/interrupts$`, "", "", "equal: it is /dev/null"},
		{`^mount\./sys/devices/.*thermal_throttle|^path\./sys/devices/.*thermal_throttle|powercap`, "", "", "stricter: masked since Docker 27"},
		{`^mknod\.tun$`, "EPERM", "ok", "stricter: crun does not allow the tun device by default, runc before 1.2 does"},
		{`^cgroup\.mkdir\.`, "^EROFS$", "^EACCES$", "stricter: read-only in a user namespace, too, where docker.io leaves it to the modes"},
		{`^mount\./sys/fs/cgroup/`, ",ro super=", ",rw super=", "stricter: read-only in a user namespace, too, where docker.io leaves it to the modes"},
		{`^mount\./dev/`, "^devtmpfs noexec,nosuid,", "^devtmpfs relatime,", "stricter: the flags that crun gives to devices in a user namespace"},
		{`^mount\./(proc|sys)/?`, ",ro super=", "", "equal: the flags that crun gives to masks and read-only paths; none can be changed from inside"},
		{`^mount\./sys$`, "super=rw", "super=ro", "equal: crun makes the mount read-only, runc its file system as well"},
		{`hugetlb`, "", "", "equal: a cgroup hierarchy that crun mounts too, read-only"},
		{`^path\.`, " (EACCES|EROFS)$", " (EACCES|EROFS)$", "equal: refused for the mount's sake or for the mode's"},
		{`^dev\./dev/null$`, "1000:1000 ok", "", "equal: crun gives the container's own node to its user"},
		{`^environment$`, "^HOSTNAME PATH$", "^HOME HOSTNAME PATH$", "equal: crun sets no HOME for a user that the image does not know"},
		{`^cgroup\.mkdir\.cgroup$`, "ok", "EACCES", "weaker, without effect: with crun everybody may write to the container's own, otherwise empty tmpfs above the hierarchies of cgroup v1"},
		{`^dev\./dev/core$`, "link /proc/kcore", "", "equal: crun makes the link, and what it leads to is masked"},
	}
}

// explain finds the reason for a difference. The order is the list's: the first
// that fits.
func explain(key, strake, docker string) (string, bool) {
	fits := func(pattern, v string) bool { return pattern == "" || regexp.MustCompile(pattern).MatchString(v) }
	for _, d := range differences() {
		if regexp.MustCompile(d.key).MatchString(key) && fits(d.strake, strake) && (d.docker == "^$" && docker == "" || fits(d.docker, docker)) {
			return d.reason, true
		}
	}
	return "", false
}

// compareWithDocker runs the probe in the same ways in containers of docker.io
// and lists every difference with its reason. One without is a failure.
func compareWithDocker(t *testing.T, h *testkit.Host, path string, reports map[string]report, dockerd ...string) {
	t.Helper()
	d := h.StartDockerd(dockerd...)
	image := h.Registry + "/library/busybox"
	if r := d.Run("pull", "-q", image); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	names := callNames(t)
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		variant, _, _ := strings.Cut(name, " ")
		if variant == "privileged" {
			if r := d.Run("run", "--rm", "--privileged", image, "true"); strings.Contains(r.Stderr, "unable to apply caps") {
				t.Logf("%s: docker.io cannot run one here: the machine lacks a capability, and docker.io insists on all", name)
				continue
			}
		}
		theirs := look(t, d.Run, path, image, variants()[variant]...).relative(t)
		compare(t, name, reports[name], theirs, names)
	}
}

func compare(t *testing.T, name string, ours, theirs report, calls map[string]string) {
	t.Helper()
	keys := maps.Clone(ours)
	maps.Copy(keys, theirs)
	groups := map[string][]string{}
	same := 0
	for k := range keys {
		if ours[k] == theirs[k] {
			same++
			continue
		}
		reason, ok := explain(k, ours[k], theirs[k])
		if !ok {
			t.Errorf("%s: %s: strake %q, docker.io %q: not explained", name, k, ours[k], theirs[k])
			continue
		}
		what := k
		if nr, ok := strings.CutPrefix(k, "call."); ok {
			what = calls[nr] + "(" + nr + ")"
		}
		if !strings.HasPrefix(k, "socket.") {
			what = fmt.Sprintf("%s %s|%s", what, ours[k], theirs[k])
		}
		groups[reason] = append(groups[reason], what)
	}
	t.Logf("%s: %d answers are the same as docker.io's", name, same)
	for _, reason := range slices.Sorted(maps.Keys(groups)) {
		slices.Sort(groups[reason])
		t.Logf("%s: %d differ, %s: %s", name, len(groups[reason]), reason, strings.Join(groups[reason], ", "))
	}
}

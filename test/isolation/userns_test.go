package isolation

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

// remapped is what holds besides in a container with a user namespace.
func remapped() rules {
	ids := fmt.Sprintf("^0 %d %d$", testkit.FirstSubordinate, testkit.SubordinateIDs)
	const no = "^mknod (EPERM|EACCES|EROFS)$"
	return rules{
		"ns.user": "^own$", "self.uid_map": ids, "self.gid_map": ids, "self.setgroups": "^allow$",
		"mknod.*": no, "mknod.null": no, "mknod.tun": no, "mknod.whiteout": "", // nodes are not for its root
		"cgroup.mkdir.*": refuse, "cgroup.mkdir.cgroup": "",
	}
}

func TestRemappedContainersReachNoMoreThanTheirFlagsGive(t *testing.T) {
	h := testkit.Start(t, testkit.WithCrun(), testkit.WithSubordinateIDs(), testkit.WithConfig("userns_remap = \""+testkit.SubordinateUser+"\"\n"+crun))
	path := probePath(t, h)
	h.MustDocker("pull", "-q", "busybox")
	other := h.MustDocker("run", "-d", "busybox", "sleep", "1000") // somebody to see
	reports := map[string]report{}
	for name, flags := range variants() {
		if name != "default" && !*withDocker || name == "privileged" {
			continue
		}
		for _, rt := range []string{"runc", "crun"} {
			got := look(t, h.Docker, path, "busybox", append([]string{"--runtime", rt}, flags...)...).relative(t)
			reports[name+" "+rt] = got
			want := confined()
			maps.Copy(want, expectations()[name])
			maps.Copy(want, remapped())
			want.check(t, name+" "+rt, got)
		}
	}
	if *withDocker {
		compareWithDocker(t, h, path, reports, "--userns-remap", testkit.SubordinateUser+":nogroup")
	}
	h.MustDocker("rm", "-f", other)
}

// CVE-2021-21284: the remapped root passes through to its own root file system,
// and gets, on the host, at what is its container's only.
func TestTheRemappedRootGetsAtNothingOfTheEngine(t *testing.T) {
	h := testkit.Start(t, testkit.WithSubordinateIDs(), testkit.WithConfig("userns_remap = \""+testkit.SubordinateUser+"\"\n"))
	id := h.MustDocker("run", "-d", "-v", "vol:/data", "busybox", "sleep", "1000")
	its := strings.ReplaceAll(`^(enter (run|state|state/containers|state/containers/ID(/rootfs)?)|(read|write) state/containers/ID/(hosts|hostname|resolv\.conf)`+
		`|enter state/volumes|(read|enter) state/volumes/vol|[a-z]+ state/volumes/vol/_data)$`, "ID", id)
	passed := 0
	for _, r := range reached(t, h, testkit.FirstSubordinate) {
		r = strings.Replace(r, h.Dir+"/", "", 1)
		if !regexp.MustCompile(its).MatchString(r) {
			t.Errorf("the remapped root may %s", r)
		}
		if strings.HasSuffix(r, "/rootfs") {
			passed++
		}
	}
	if passed != 1 {
		t.Error("it does not reach its own root")
	}
}

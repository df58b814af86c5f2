package spec_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strakehq/strake/core/seccomp"
	"github.com/strakehq/strake/core/spec"
)

var update = flag.Bool("update", false, "rewrite golden files")

// machine is the same wherever the tests run.
func machine() spec.Machine {
	return spec.Machine{
		CgroupV2: true, Controllers: []string{"cpu", "cpuset", "io", "memory", "pids"}, NCPU: 4,
		SwapLimit: true, MemoryReservation: true, KernelCFS: true, BlkioWeight: true, RaiseLimits: true,
		Capabilities: []string{
			"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
			"CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN", "CAP_MKNOD",
			"CAP_AUDIT_WRITE", "CAP_SETFCAP",
		},
		MaskedPaths:    []string{"/proc/kcore", "/sys/firmware"},
		PingGroupRange: true, UnprivilegedPorts: true,
	}
}

// input is what `run busybox echo hello` comes to.
func input() spec.Input {
	return spec.Input{
		ID: "4f1c", Hostname: "4f1c", Args: []string{"echo", "hello"}, NetNS: "/run/strake/netns/4f1c", OwnNet: true,
		User:        specs.User{AdditionalGids: []uint32{0, 10}},
		CgroupsPath: "/strake/4f1c",
		Config:      &container.Config{Env: []string{"PATH=/bin", "A=1"}},
		Host:        &container.HostConfig{IpcMode: "private", CgroupnsMode: "private", ShmSize: 64 << 20},
		Mounts: []spec.Mount{
			{Source: "/var/lib/strake/containers/4f1c/hosts", Destination: "/etc/hosts"},
		},
	}
}

func TestSpecifications(t *testing.T) {
	pids, swappiness := int64(100), int64(10)
	for name, edit := range map[string]func(*spec.Input){
		"plain": func(*spec.Input) {},
		"terminal": func(in *spec.Input) {
			in.Config.Tty, in.Config.WorkingDir, in.Config.Domainname = true, "/srv", "example.org"
			in.Host.ConsoleSize = [2]uint{24, 80}
			in.InitPath = "/usr/bin/tini-static"
		},
		"privileged": func(in *spec.Input) {
			in.Host.Privileged = true
			in.Host.SecurityOpt = []string{"no-new-privileges"}
		},
		"limits": func(in *spec.Input) {
			in.Host.Resources = container.Resources{
				Memory: 64 << 20, MemorySwap: 128 << 20, MemoryReservation: 32 << 20, MemorySwappiness: &swappiness,
				NanoCPUs: 1_500_000_000, CPUShares: 512, CpusetCpus: "0-1", PidsLimit: &pids, BlkioWeight: 300,
				Ulimits:           []*units.Ulimit{{Name: "nofile", Soft: 1024, Hard: 2048}},
				DeviceCgroupRules: []string{"c 10:* rw"},
			}
			in.Host.OomScoreAdj = -100
		},
		"shared": func(in *spec.Input) {
			in.NetNS, in.OwnNet, in.Hostname = "", false, "host"
			in.Host.PidMode, in.Host.IpcMode, in.Host.UTSMode, in.Host.CgroupnsMode = "host", "host", "host", "host"
		},
		"joined": func(in *spec.Input) {
			in.OwnNet = false
			in.Joined = map[specs.LinuxNamespaceType]string{specs.PIDNamespace: "/proc/7/ns/pid", specs.IPCNamespace: "/proc/7/ns/ipc"}
		},
		"remapped": func(in *spec.Input) {
			ids := []user.IDMap{{ParentID: 100000, Count: 1000}, {ID: 1000, ParentID: 300000, Count: 500}}
			in.UserNS = &spec.UserNS{Path: "/proc/7/fd/8", IDs: user.IdentityMapping{UIDMaps: ids, GIDMaps: ids}}
			in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/dev/zero", PathInContainer: "/dev/z", CgroupPermissions: "rw"}}
		},
		"read-only": func(in *spec.Input) {
			in.Host.ReadonlyRootfs = true
			in.Host.Tmpfs = map[string]string{"/tmp": "size=1m,exec", "/run/lock": ""}
			in.Mounts = append(in.Mounts,
				spec.Mount{Source: "/srv/data", Destination: "/data/deep", ReadOnly: true},
				spec.Mount{Source: "/srv", Destination: "/data", Propagation: mount.PropagationPrivate, NonRecursive: true},
			)
		},
		"capabilities": func(in *spec.Input) {
			in.Host.CapAdd, in.Host.CapDrop = []string{"net_admin"}, []string{"CAP_MKNOD", "chown"}
			in.Host.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "1024"}
			in.Host.IpcMode = "none"
			in.Host.MaskedPaths, in.Host.ReadonlyPaths = []string{}, []string{"/proc/sys"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := input()
			edit(&in)
			s, warnings, err := spec.NewBuilder(machine()).Build(in)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%v %v", warnings, err)
			}
			if (s.Linux.Seccomp == nil) != in.Host.Privileged {
				t.Errorf("seccomp filter: %v", s.Linux.Seccomp != nil)
			}
			s.Linux.Seccomp = nil // the profile's own, and the kernel's
			if (s.Annotations[seccomp.Annotation] == "") != in.Host.Privileged {
				t.Errorf("compiled filter: %q", s.Annotations[seccomp.Annotation])
			}
			delete(s.Annotations, seccomp.Annotation)
			if in.Host.Privileged {
				if len(s.Linux.Devices) == 0 {
					t.Error("no devices of the host")
				}
				s.Linux.Devices = nil // the host's
			}
			golden(t, name, s)
		})
	}
}

func golden(t *testing.T, name string, s *specs.Spec) {
	t.Helper()
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
		t.Errorf("differs from %s (- want, + got), rewrite with -update:\n%s", path, d)
	}
}

func TestSeccompFollowsCapabilities(t *testing.T) {
	b := spec.NewBuilder(machine())
	allows := func(caps ...string) bool {
		in := input()
		in.Host.CapAdd = caps
		s, _, err := b.Build(in)
		if err != nil {
			t.Fatal(err)
		}
		if s.Linux.Seccomp.DefaultAction != specs.ActErrno {
			t.Errorf("default action %s", s.Linux.Seccomp.DefaultAction)
		}
		return slices.ContainsFunc(s.Linux.Seccomp.Syscalls, func(c specs.LinuxSyscall) bool {
			return c.Action == specs.ActAllow && slices.Contains(c.Names, "mount")
		})
	}
	if allows() || !allows("SYS_ADMIN") {
		t.Error("mount(2) is for holders of CAP_SYS_ADMIN")
	}
	for opt, filtered := range map[string]bool{
		"seccomp=unconfined": false, "seccomp:unconfined": false, "seccomp=builtin": true,
		`seccomp={"defaultAction":"SCMP_ACT_LOG"}`: true,
	} {
		in := input()
		in.Host.SecurityOpt = []string{opt}
		s, _, err := b.Build(in)
		if err != nil || (s.Linux.Seccomp != nil) != filtered {
			t.Errorf("%s: %v, %v", opt, s.Linux.Seccomp, err)
		}
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for want, edit := range map[string]func(*spec.Input){
		`"FLY"`:                         func(in *spec.Input) { in.Host.CapAdd = []string{"FLY"} },
		`"magic=1"`:                     func(in *spec.Input) { in.Host.SecurityOpt = []string{"magic=1"} },
		"seccomp: profile":              func(in *spec.Input) { in.Host.SecurityOpt = []string{"seccomp=/no/json"} },
		"no-new-privileges=maybe":       func(in *spec.Input) { in.Host.SecurityOpt = []string{"no-new-privileges=maybe"} },
		`"x 1:2 r"`:                     func(in *spec.Input) { in.Host.DeviceCgroupRules = []string{"x 1:2 r"} },
		`"/no/device"`:                  func(in *spec.Input) { in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/no/device"}} },
		"not a device node":             func(in *spec.Input) { in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/etc/passwd"}} },
		`invalid propagation mode "up"`: func(in *spec.Input) { in.Mounts[0].Propagation = "up" },
	} {
		in := input()
		edit(&in)
		_, _, err := spec.NewBuilder(machine()).Build(in)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s in %v", want, err)
		}
	}
}

func TestDevicesAreMapped(t *testing.T) {
	in := input()
	in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/dev/null", PathInContainer: "/dev/nothing", CgroupPermissions: "r"}}
	s, _, err := spec.NewBuilder(machine()).Build(in)
	if err != nil {
		t.Fatal(err)
	}
	d := s.Linux.Devices[0]
	if d.Path != "/dev/nothing" || d.Type != "c" || d.Major != 1 || d.Minor != 3 {
		t.Errorf("%+v", d)
	}
	rule := s.Linux.Resources.Devices[len(s.Linux.Resources.Devices)-1]
	if !rule.Allow || rule.Access != "r" || *rule.Minor != 3 {
		t.Errorf("%+v", rule)
	}
}

func TestEnvironment(t *testing.T) {
	c := &container.Config{Env: []string{"A=1", "HOSTNAME=mine", "PATH"}}
	got := spec.Env(c, "h", true, []string{"A=2", "B=3"})
	if want := []string{"HOSTNAME=mine", "TERM=xterm", "A=2", "B=3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUsers(t *testing.T) {
	passwd := []byte("root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n")
	group := []byte("root:x:0:\nweb:x:34:\nwheel:x:10:root,web\nextra:x:44:\n")
	for _, c := range []struct {
		name string
		add  []string
		want specs.User
	}{
		{"", nil, specs.User{AdditionalGids: []uint32{0, 10}}},
		{"web", []string{"extra"}, specs.User{UID: 33, GID: 34, AdditionalGids: []uint32{34, 10, 44}}},
		{"33", nil, specs.User{UID: 33, GID: 34, AdditionalGids: []uint32{34, 10}}},
		{"web:extra", nil, specs.User{UID: 33, GID: 44, AdditionalGids: []uint32{44}}},
		{"1000:1000", nil, specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{1000}}},
	} {
		got, err := spec.ResolveUser(c.name, c.add, passwd, group)
		if err != nil || !cmp.Equal(got, c.want) {
			t.Errorf("%q: %+v, %v", c.name, got, err)
		}
	}
	if _, err := spec.ResolveUser("nobody", nil, passwd, group); !errdefs.IsInvalidArgument(err) {
		t.Errorf("unknown user: %v", err)
	}
	if got, err := spec.ResolveUser("5", nil, nil, nil); err != nil || got.UID != 5 {
		t.Errorf("an image without accounts: %+v, %v", got, err)
	}
	if !spec.NumericUser("1:2", []string{"3"}) || spec.NumericUser("1", nil) || spec.NumericUser("1:a", nil) {
		t.Error("which users need no files")
	}
}

// What is no id in an image's files, or in the name of the user, must not become
// root, as it does where numbers beyond the range are cut or read as 0.
func TestNoUserBecomesRootByANumberThatIsNone(t *testing.T) {
	for _, n := range []string{"99999999999999999999", "9223372036854775808", "4294967296", "2147483648", "-1", "+0x", "abc", "", "1 0"} {
		accounts := []byte(n + ":x:0:0::/:/bin/sh\nuid:x:" + n + ":5::/:/bin/sh\ngid:x:33:" + n + "::/:/bin/sh\nshort\n")
		groups := []byte(n + ":x:0:\ngroup:x:" + n + ":gid,uid,member\nshort\n")
		users := []string{"uid", "gid", "1:group", "short", "1:short"}
		if _, err := strconv.ParseInt(n, 10, 64); err == nil || len(n) == 20 {
			users = append(users, n, "1:"+n)
		}
		for _, name := range users {
			if got, err := spec.ResolveUser(name, nil, accounts, groups); !errdefs.IsInvalidArgument(err) {
				t.Errorf("%q with %q: %+v, %v", name, n, got, err)
			}
		}
		for _, add := range users[2:] {
			if got, err := spec.ResolveUser("1:1", []string{strings.TrimPrefix(add, "1:")}, accounts, groups); !errdefs.IsInvalidArgument(err) {
				t.Errorf("group %q with %q: %+v, %v", add, n, got, err)
			}
		}
		got, err := spec.ResolveUser("member", nil, []byte("member:x:7:8::/:/bin/sh\n"), groups)
		if want := (specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{8}}); err != nil || !cmp.Equal(got, want) {
			t.Errorf("member of a group of id %q: %+v, %v", n, got, err)
		}
	}
	if got, err := spec.ResolveUser("2147483647:2147483647", nil, nil, nil); err != nil || got.UID != 1<<31-1 {
		t.Errorf("the greatest id: %+v, %v", got, err)
	}
}

func TestTmpfsOptions(t *testing.T) {
	if err := spec.CheckTmpfs("/t", "rw,size=1m,mode=700,noexec"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"size", "rw=1", "bogus", "ro,,rw"} {
		if err := spec.CheckTmpfs("/t", bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	builder := spec.NewBuilder(machine())
	in := input()
	for b.Loop() {
		s, _, err := builder.Build(in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := json.Marshal(s); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzDeviceRule(f *testing.F) {
	for _, s := range []string{"c 1:3 rwm", "a *:* r", "b 8:0", "c -1:1 r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := spec.ParseDeviceRule(s)
		if err == nil && (r.Type == "" || r.Access == "") {
			t.Errorf("%q gives %+v", s, r)
		}
	})
}

func TestReadOnlyReachesWhatIsMountedBelow(t *testing.T) {
	b := spec.NewBuilder(machine())
	opts := func(m spec.Mount) []string {
		in := input()
		in.Mounts = []spec.Mount{m}
		s, _, err := b.Build(in)
		if err != nil {
			t.Fatal(err)
		}
		return s.Mounts[len(s.Mounts)-1].Options
	}
	// /dev has mounts below it on every machine, /etc/passwd on none.
	for _, c := range []struct {
		m    spec.Mount
		want bool
	}{
		{spec.Mount{Source: "/dev", ReadOnly: true}, true},
		{spec.Mount{Source: "/dev"}, false},
		{spec.Mount{Source: "/dev", ReadOnly: true, ReadOnlyTop: true}, false},
		{spec.Mount{Source: "/dev", ReadOnly: true, NonRecursive: true}, false},
		{spec.Mount{Source: "/etc/passwd", ReadOnly: true}, false},
	} {
		c.m.Destination = "/data"
		if got := slices.Contains(opts(c.m), "rro"); got != c.want {
			t.Errorf("%+v: %v", c.m, got)
		}
	}
}

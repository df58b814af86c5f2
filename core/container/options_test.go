package container_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strakehq/strake/core/api/containers"
)

// TestBadRequestsAreRefusedInDockersWords is about what the user reads.
func TestBadRequestsAreRefusedInDockersWords(t *testing.T) {
	w := newWorld(t)
	type edit = func(*apicontainer.CreateRequest)
	host := func(f func(*apicontainer.HostConfig)) edit {
		return func(r *apicontainer.CreateRequest) { f(r.HostConfig) }
	}
	binds := func(b ...string) edit { return host(func(h *apicontainer.HostConfig) { h.Binds = b }) }
	mounts := func(m ...mount.Mount) edit { return host(func(h *apicontainer.HostConfig) { h.Mounts = m }) }
	for want, f := range map[string]edit{
		"No such image: nosuch":               func(r *apicontainer.CreateRequest) { r.Image = "nosuch" },
		"no command specified":                func(r *apicontainer.CreateRequest) { r.Entrypoint = []string{""} },
		"Minimum memory limit allowed is 6MB": host(func(h *apicontainer.HostConfig) { h.Memory = 1 << 20 }),
		"Minimum memoryswap limit":            host(func(h *apicontainer.HostConfig) { h.Memory, h.MemorySwap = 64<<20, 32<<20 }),
		"You should always set the Memory":    host(func(h *apicontainer.HostConfig) { h.MemorySwap = 32 << 20 }),
		"range of CPUs is from 0.01":          host(func(h *apicontainer.HostConfig) { h.NanoCPUs = 1e15 }),
		"Conflicting options: Nano CPUs":      host(func(h *apicontainer.HostConfig) { h.NanoCPUs, h.CPUPeriod = 1e9, 5000 }),
		"range for oom score adj":             host(func(h *apicontainer.HostConfig) { h.OomScoreAdj = 2000 }),
		"invalid restart policy":              host(func(h *apicontainer.HostConfig) { h.RestartPolicy.Name = "maybe" }),
		"can't create 'AutoRemove'":           host(func(h *apicontainer.HostConfig) { h.AutoRemove = true; h.RestartPolicy.Name = "always" }),
		"no log driver named 'syslog'":        host(func(h *apicontainer.HostConfig) { h.LogConfig.Type = "syslog" }),
		"unknown log opt 'color'":             host(func(h *apicontainer.HostConfig) { h.LogConfig.Config = map[string]string{"color": "red"} }),
		"max-size=big":                        host(func(h *apicontainer.HostConfig) { h.LogConfig.Config = map[string]string{"max-size": "big"} }),
		"HostConfig.Links":                    host(func(h *apicontainer.HostConfig) { h.Links = []string{"a:b"} }),
		"could not select device driver": host(func(h *apicontainer.HostConfig) {
			h.DeviceRequests = []apicontainer.DeviceRequest{{Capabilities: [][]string{{"gpu"}}}}
		}),
		"HostConfig.UsernsMode": host(func(h *apicontainer.HostConfig) { h.UsernsMode = "remap" }),
		"invalid IPC mode":      host(func(h *apicontainer.HostConfig) { h.IpcMode = "odd" }),
		"invalid port specification": host(func(h *apicontainer.HostConfig) {
			h.PortBindings = network.PortMap{network.MustParsePort("80"): {{HostPort: "99999"}}}
		}),
		"invalid IP address in add-host":        host(func(h *apicontainer.HostConfig) { h.ExtraHosts = []string{"db:nowhere"} }),
		"ulimit soft limit":                     host(func(h *apicontainer.HostConfig) { h.Ulimits = []*units.Ulimit{{Name: "nofile", Soft: 9, Hard: 1}} }),
		"unknown capability":                    host(func(h *apicontainer.HostConfig) { h.CapAdd = []string{"FLY"} }),
		"No such container: other":              host(func(h *apicontainer.HostConfig) { h.NetworkMode = "container:other" }),
		"unknown storage option":                host(func(h *apicontainer.HostConfig) { h.StorageOpt = map[string]string{"colour": "red"} }),
		"unknown or invalid runtime name: nope": host(func(h *apicontainer.HostConfig) { h.Runtime = "nope" }),
		"invalid environment variable":          func(r *apicontainer.CreateRequest) { r.Env = []string{"=x"} },
		"needs to be an absolute path":          func(r *apicontainer.CreateRequest) { r.WorkingDir = "srv" },
		"SIGNOPE":                               func(r *apicontainer.CreateRequest) { r.StopSignal = "SIGNOPE" },
		"unknown healthcheck type": func(r *apicontainer.CreateRequest) {
			r.Healthcheck = &apicontainer.HealthConfig{Test: []string{"PING"}}
		},
		"invalid volume specification: '/a:/b:c":  binds("/a:/b:c:d"),
		"mount path must be absolute":             binds("/a:b"),
		"destination can't be '/'":                binds("/a:/"),
		"invalid mode: rox":                       binds("/a:/b:rox"),
		"includes invalid characters for a local": binds("a/b:/b"),
		"Duplicate mount point: /b":               binds("/a:/b", "/c:/b/"),
		"bind source path does not exist: /no/x":  mounts(mount.Mount{Type: "bind", Source: "/no/x", Target: "/x"}),
		"field Target must not be empty":          mounts(mount.Mount{Type: "bind", Source: "/tmp"}),
		`mount type "image" is not supported`:     mounts(mount.Mount{Type: "image", Source: "busybox", Target: "/x"}),
		"field Source must not be specified":      mounts(mount.Mount{Type: "tmpfs", Source: "/tmp", Target: "/x"}),
		`invalid tmpfs option "up"`:               host(func(h *apicontainer.HostConfig) { h.Tmpfs = map[string]string{"/t": "up"} }),
	} {
		_, err := w.Create(t.Context(), "", "", request(f))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
			continue
		}
		if !errdefs.IsInvalidArgument(err) && !errdefs.IsNotFound(err) && !errdefs.IsNotImplemented(err) {
			t.Errorf("%v: no class for a bad request", err)
		}
	}
	list, err := w.List(t.Context(), containers.ListOptions{All: true})
	if err != nil || len(list) > 0 {
		t.Errorf("%d containers are left, %v", len(list), err)
	}
}

// bundle reads the specification that the runtime was given.
func bundle(t *testing.T, w *world, id string) (s specs.Spec) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.run.Request(id).Bundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheBundleSaysWhatWasAsked(t *testing.T) {
	w := newWorld(t)
	src := filepath.Join(t.TempDir(), "made", "here")
	id := w.create(t, "web", func(r *apicontainer.CreateRequest) {
		r.User, r.Cmd, r.Domainname = "web", []string{"serve"}, "example.org"
		r.HostConfig.Binds = []string{src + ":/src:ro", "vol:/data"}
		r.HostConfig.ExtraHosts = []string{"db:192.0.2.9"}
	})
	w.start(t, id)
	s := bundle(t, w, id)
	if s.Process.User.UID != 33 || len(s.Process.User.AdditionalGids) != 2 || s.Process.Args[0] != "serve" {
		t.Errorf("process %+v", s.Process)
	}
	if s.Hostname != id[:12] || s.Linux.CgroupsPath != "/strake/"+id {
		t.Errorf("host name %s, cgroup %s", s.Hostname, s.Linux.CgroupsPath)
	}
	if st, err := os.Stat(src); err != nil || !st.IsDir() {
		t.Errorf("the bind source is not made: %v", err)
	}
	for name, want := range map[string]string{
		"hosts":       "192.0.2.9\tdb\n192.0.2.7\t" + id[:12] + ".example.org " + id[:12] + "\n",
		"hostname":    id[:12] + "\n",
		"resolv.conf": "nameserver 192.0.2.1\n",
	} {
		b, err := os.ReadFile(filepath.Join(w.dir, "containers", id, name))
		if err != nil || !strings.HasSuffix(string(b), want) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestAFreshVolumeTakesOverTheImagesContent(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "web", func(r *apicontainer.CreateRequest) {
		r.HostConfig.Binds = []string{"vol:/data", "bare:/data2:nocopy"}
	})
	w.start(t, id)
	v, err := w.vol.Inspect(t.Context(), "vol")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(v.Mountpoint, "sub", "egg"))
	if err != nil || string(b) != "white" {
		t.Errorf("%q, %v", b, err)
	}
	if st, err := os.Stat(v.Mountpoint); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("the directory's own mode: %v, %v", st.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(v.Mountpoint, "sub", "egg"), []byte("yolk"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := w.create(t, "other", func(r *apicontainer.CreateRequest) { r.HostConfig.VolumesFrom = []string{"web:ro"} })
	w.start(t, other)
	if b, err := os.ReadFile(filepath.Join(v.Mountpoint, "sub", "egg")); err != nil || string(b) != "yolk" {
		t.Errorf("copied over: %q, %v", b, err)
	}
	i, err := w.Inspect(t.Context(), other, false)
	if err != nil || len(i.Mounts) != 2 || i.Mounts[0].RW {
		t.Errorf("mounts %+v, %v", i.Mounts, err)
	}
}

func TestNamespacesOfOtherContainers(t *testing.T) {
	w := newWorld(t)
	owner := w.create(t, "owner")
	guest := w.create(t, "guest", func(r *apicontainer.CreateRequest) {
		r.HostConfig.NetworkMode, r.HostConfig.PidMode = "container:owner", "container:owner"
	})
	err := w.Start(t.Context(), guest)
	if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "of a non running container: "+owner) {
		t.Errorf("owner does not run: %v", err)
	}
	w.start(t, owner)
	if err := w.Rename(t.Context(), "owner", "renamed"); err != nil {
		t.Fatal(err)
	}
	w.start(t, guest)
	s := bundle(t, w, guest)
	paths := map[specs.LinuxNamespaceType]string{}
	for _, n := range s.Linux.Namespaces {
		paths[n.Type] = n.Path
	}
	if paths[specs.NetworkNamespace] != "/run/netns/"+owner || paths[specs.PIDNamespace] != fmt.Sprintf("/proc/%d/ns/pid", os.Getpid()) || s.Hostname != owner[:12] {
		t.Errorf("%v, %s", paths, s.Hostname)
	}
	if w.net.Attached(guest) {
		t.Error("the guest has a network of its own")
	}
}

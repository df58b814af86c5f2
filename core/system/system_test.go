package system

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	apiregistry "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/api/drivers"
	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/core/spec"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/storage"
)

// world is all that the package asks of others, with fixed answers.
type world struct {
	drivers []drivers.Driver
	login   string // host of the last login
}

func (w *world) Drivers(context.Context) ([]drivers.Driver, error) { return w.drivers, nil }
func (w *world) Registry(string) (registry.Driver, error)          { return registryOf{world: w}, nil }
func (w *world) Storage() storage.Driver                           { return storageOf{} }
func (w *world) Usage(context.Context) ([]volume.Volume, error) {
	return []volume.Volume{
		{Name: "used", UsageData: &volume.UsageData{RefCount: 1, Size: 100}},
		{Name: "free", UsageData: &volume.UsageData{Size: 10}},
	}, nil
}

type registryOf struct {
	registry.Driver
	world *world
}

func (r registryOf) Login(_ context.Context, host string, c registry.Credentials) (registry.LoginResult, error) {
	r.world.login = host
	if c.Password.Reveal() != "right" {
		return registry.LoginResult{}, errors.Join(errors.New("incorrect username or password"), errdefs.ErrUnauthenticated)
	}
	return registry.LoginResult{IdentityToken: "token"}, nil
}

type storageOf struct{ storage.Driver }

func (storageOf) List(context.Context) ([]storage.Snapshot, error) {
	return []storage.Snapshot{{Key: "a", Kind: storage.Committed}, {Key: "b", Kind: storage.Committed}, {Key: "ctr", Kind: storage.Active}}, nil
}

func (storageOf) Usage(context.Context, storage.SnapshotKey) (storage.Usage, error) {
	return storage.Usage{Bytes: 1000}, nil
}

type listContainers struct{}

func (listContainers) List(context.Context, containers.ListOptions) ([]container.Summary, error) {
	return []container.Summary{
		{ID: "1", ImageID: "sha256:used", State: container.StateRunning, SizeRw: 5},
		{ID: "2", ImageID: "sha256:used", State: container.StatePaused, SizeRw: 6},
		{ID: "3", ImageID: "sha256:used", State: container.StateExited, SizeRw: 7},
	}, nil
}

type listImages struct{}

func (listImages) List(context.Context, images.ListOptions) ([]image.Summary, error) {
	return []image.Summary{{ID: "sha256:used", Size: 1500, SharedSize: 1000}, {ID: "sha256:idle", Size: 1500, SharedSize: 1000}}, nil
}

func newSystem(t *testing.T, change func(*config.Config)) (*System, *world) {
	t.Helper()
	c := config.Default()
	c.StateDir = t.TempDir()
	if change != nil {
		change(c)
	}
	w := &world{drivers: []drivers.Driver{
		{Kind: "storage", Name: "overlay", Version: "1", Status: "ready", Default: true},
		{Kind: "runtime", Name: "runc", Version: "1", Status: "ready", Default: true, Path: "/x/strake-runtime-runc"},
		{Kind: "network", Name: "bridge", Version: "1", Status: "failed", Reason: "no iptables: install it"},
	}}
	s, err := New(Config{
		Settings: c, Machine: spec.Machine{CgroupV2: true, Controllers: []string{"memory", "pids"}, NCPU: 3},
		Drivers: w, Containers: listContainers{}, Images: listImages{}, Volumes: w,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

func TestInfoTellsWhatIsThereAndWhatIsWrong(t *testing.T) {
	s, _ := newSystem(t, func(c *config.Config) {
		c.Hosts, c.AllowUnauthenticatedTCP = []string{"tcp://127.0.0.1:2375"}, true
		c.Registry.Options = map[string]any{"mirrors": map[string]any{"docker.io": []any{"http://127.0.0.1:5000"}}}
	})
	i, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i.Containers != 3 || i.ContainersRunning != 1 || i.ContainersPaused != 1 || i.ContainersStopped != 1 || i.Images != 2 {
		t.Errorf("counts: %+v", i)
	}
	if i.Driver != "overlay" || i.DefaultRuntime != "runc" || i.CgroupVersion != "2" || !i.PidsLimit || i.CPUSet || i.NCPU != 3 {
		t.Errorf("drivers and limits: %+v", i)
	}
	if i.MemTotal < 64<<20 || i.KernelVersion == "" || i.OperatingSystem == "" || i.Name == "" {
		t.Errorf("the machine: %+v", i)
	}
	if m := i.RegistryConfig.Mirrors; len(m) != 1 || m[0] != "http://127.0.0.1:5000/" {
		t.Errorf("mirrors: %v", m)
	}
	warnings := strings.Join(i.Warnings, "\n")
	for _, w := range []string{"No cpuset support", "tcp://127.0.0.1:2375 without authentication", "no iptables: install it"} {
		if !strings.Contains(warnings, w) {
			t.Errorf("warnings lack %q:\n%s", w, warnings)
		}
	}
}

func TestEngineIDStays(t *testing.T) {
	dir := t.TempDir()
	a, err := engineID(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := engineID(dir)
	if err != nil || a != b || len(a) != 36 {
		t.Errorf("got %q then %q, %v", a, b, err)
	}
}

func TestVersionNamesDriversAndTheRuntimeBehindThem(t *testing.T) {
	s, _ := newSystem(t, nil)
	v, err := s.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, c := range v.Components {
		names[c.Name] = c.Version
	}
	if names["Engine"] == "" || names["storage driver overlay"] != "1" {
		t.Errorf("components: %v", names)
	}
	if _, err := exec.LookPath("runc"); err == nil && !strings.Contains(names["runc"], ".") {
		t.Errorf("runc is installed, and its version is %q", names["runc"])
	}
	if v.APIVersion == "" || v.MinAPIVersion == "" || v.KernelVersion == "" {
		t.Errorf("got %+v", v)
	}
}

func TestLoginFindsTheRegistry(t *testing.T) {
	s, w := newSystem(t, nil)
	for address, host := range map[string]string{
		"": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io",
		"127.0.0.1:5000": "127.0.0.1:5000", "https://ghcr.io/v2/": "ghcr.io",
	} {
		r, err := s.Auth(t.Context(), apiregistry.AuthConfig{Username: "u", Password: "right", ServerAddress: address})
		if err != nil || r.Status != "Login Succeeded" || r.IdentityToken != "token" || w.login != host {
			t.Errorf("%q: got %+v at %q, %v", address, r, w.login, err)
		}
	}
	if _, err := s.Auth(t.Context(), apiregistry.AuthConfig{Username: "u", Password: "wrong"}); !errdefs.IsUnauthorized(err) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := s.Auth(t.Context(), apiregistry.AuthConfig{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no user: %v", err)
	}
}

func TestDiskUsageCountsLayersOnce(t *testing.T) {
	s, _ := newSystem(t, nil)
	u, err := s.DiskUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i := u.ImageUsage; i.TotalSize != 2000 || i.ActiveCount != 1 || i.Reclaimable != 500 {
		t.Errorf("images: %+v", i)
	}
	if c := u.ContainerUsage; c.TotalSize != 18 || c.ActiveCount != 2 || c.Reclaimable != 7 {
		t.Errorf("containers: %+v", c)
	}
	if v := u.VolumeUsage; v.TotalSize != 110 || v.ActiveCount != 1 || v.Reclaimable != 10 {
		t.Errorf("volumes: %+v", v)
	}
}

func TestProxiesAreShownWithoutPasswords(t *testing.T) {
	for in, want := range map[string]string{
		"http://user:secret@proxy:3128": "http://xxxxx:xxxxx@proxy:3128", "http://proxy:3128": "http://proxy:3128", "": "",
	} {
		if got := redact(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

package system

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/api/drivers"
	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/version"
)

// Info answers GET /info.
func (s *System) Info(ctx context.Context) (system.Info, error) {
	c := s.Settings
	i := system.Info{
		ID: s.id, Name: s.host.name, ServerVersion: version.Version, Labels: c.Labels,
		SystemTime: time.Now().Format(time.RFC3339Nano), Debug: c.LogLevel == "debug" || c.LogLevel == "trace",
		KernelVersion: s.host.kernel, OperatingSystem: s.host.os, OSVersion: s.host.osVersion,
		OSType: runtime.GOOS, Architecture: s.host.machine, NCPU: s.Machine.NCPU, MemTotal: s.host.memory,
		DockerRootDir: c.StateDir, NGoroutines: runtime.NumGoroutine(), NFd: openFiles(),
		LoggingDriver: "json-file", LiveRestoreEnabled: !c.StopContainersOnExit, InitBinary: "tini",
		IndexServerAddress: "https://index.docker.io/v1/", RegistryConfig: s.registries(),
		HTTPProxy: proxy("HTTP_PROXY"), HTTPSProxy: proxy("HTTPS_PROXY"), NoProxy: proxy("NO_PROXY"),
		Swarm:       swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive, RemoteManagers: []swarm.Peer{}},
		Plugins:     system.PluginsInfo{Volume: []string{"local"}, Log: []string{"json-file", "none"}, Authorization: []string{}},
		CDISpecDirs: []string{},
	}
	s.limits(&i)
	s.security(&i)
	if err := s.counts(ctx, &i); err != nil {
		return i, err
	}
	all, err := s.Drivers.Drivers(ctx)
	if err != nil {
		return i, err
	}
	s.describe(ctx, &i, all)
	i.Warnings = append(s.warnings(i), i.Warnings...)
	return i, nil
}

// limits says which limits the kernel enforces.
func (s *System) limits(i *system.Info) {
	m := s.Machine
	i.CgroupDriver, i.CgroupVersion = "cgroupfs", "1"
	if m.CgroupV2 {
		i.CgroupVersion = "2"
	}
	i.MemoryLimit, i.SwapLimit, i.OomKillDisable = m.Has("memory"), m.SwapLimit, m.OOMKillDisable
	i.CPUCfsPeriod, i.CPUCfsQuota, i.CPUShares = m.KernelCFS, m.KernelCFS, m.Has("cpu")
	i.CPUSet, i.PidsLimit = m.Has("cpuset"), m.Has("pids")
	i.IPv4Forwarding = firstByte("/proc/sys/net/ipv4/ip_forward") == '1'
}

func (s *System) security(i *system.Info) {
	i.SecurityOptions = []string{"name=seccomp,profile=builtin"}
	if s.Machine.AppArmor {
		i.SecurityOptions = append([]string{"name=apparmor"}, i.SecurityOptions...)
	}
	if s.Machine.SELinux {
		i.SecurityOptions = append(i.SecurityOptions, "name=selinux")
	}
	if s.Machine.CgroupV2 {
		i.SecurityOptions = append(i.SecurityOptions, "name=cgroupns")
	}
	if s.Settings.UsernsRemap != "" {
		i.SecurityOptions = append(i.SecurityOptions, "name=userns")
	}
	if s.Settings.Containers.NoNewPrivileges {
		i.SecurityOptions = append(i.SecurityOptions, "name=no-new-privileges")
	}
}

func (s *System) counts(ctx context.Context, i *system.Info) error {
	all, err := s.Containers.List(ctx, containers.ListOptions{All: true})
	if err != nil {
		return err
	}
	i.Containers = len(all)
	for _, c := range all {
		switch c.State {
		case container.StateRunning, container.StateRestarting:
			i.ContainersRunning++
		case container.StatePaused:
			i.ContainersPaused++
		default:
			i.ContainersStopped++
		}
	}
	list, err := s.Images.List(ctx, images.ListOptions{})
	i.Images = len(list)
	return err
}

// describe enters the drivers.
func (s *System) describe(ctx context.Context, i *system.Info, all []drivers.Driver) {
	i.Runtimes = map[string]system.RuntimeWithStatus{}
	i.Plugins.Network = []string{"host", "none"}
	for _, d := range all {
		switch driver.Kind(d.Kind) {
		case driver.Storage:
			i.Driver = d.Name
			i.DriverStatus = [][2]string{{"Version", d.Version}, {"Status", d.Status}, {"Capabilities", strings.Join(d.Capabilities, " ")}}
		case driver.Runtime:
			i.Runtimes[d.Name] = system.RuntimeWithStatus{
				Runtime: system.Runtime{Path: d.Path}, Status: map[string]string{"strake.version": d.Version, "strake.status": d.Status},
			}
			oci := s.oci.of(ctx, s.Settings, d)
			if d.Default {
				i.DefaultRuntime, i.RuncCommit.ID = d.Name, oci.version
			}
			if w := oci.warning(); w != "" && !slices.Contains(i.Warnings, w) {
				i.Warnings = append(i.Warnings, w)
			}
		case driver.Network:
			i.Plugins.Network = append([]string{d.Name}, i.Plugins.Network...)
		case driver.Registry:
		}
		if d.Status != string(driver.Ready) {
			i.Warnings = append(i.Warnings, fmt.Sprintf("WARNING: %s driver %q is %s: %s", d.Kind, d.Name, d.Status, d.Reason))
		}
	}
}

func (s *System) warnings(i system.Info) []string {
	var w []string
	for _, x := range []struct {
		bad  bool
		text string
	}{
		{!i.MemoryLimit, "No memory limit support"},
		{!i.SwapLimit, "No swap limit support"},
		{!i.CPUShares, "No cpu shares support"},
		{!i.CPUCfsQuota, "No cpu cfs quota support"},
		{!i.CPUSet, "No cpuset support"},
		{!i.PidsLimit, "No pids limit support"},
		{!i.IPv4Forwarding, "IPv4 forwarding is disabled"},
	} {
		if x.bad {
			w = append(w, "WARNING: "+x.text)
		}
	}
	if c := s.Settings; c.AllowUnauthenticatedTCP && c.TLS.CA == "" {
		for _, h := range c.APIHosts() {
			if strings.HasPrefix(h, "tcp://") {
				w = append(w, fmt.Sprintf("WARNING: API is accessible on %s without authentication: everybody who reaches it is root on this machine", h))
			}
		}
	}
	return w
}

// registries shows Docker Hub and its mirrors, when the registry driver's
// options name some in the usual form.
func (s *System) registries() *registry.ServiceConfig {
	mirrors := []string{}
	if m, ok := s.Settings.Registry.Options["mirrors"].(map[string]any); ok {
		list, _ := m["docker.io"].([]any)
		for _, v := range list {
			mirrors = append(mirrors, strings.TrimSuffix(fmt.Sprint(v), "/")+"/")
		}
	}
	return &registry.ServiceConfig{
		Mirrors:      mirrors,
		IndexConfigs: map[string]*registry.IndexInfo{"docker.io": {Name: "docker.io", Mirrors: mirrors, Secure: true, Official: true}},
	}
}

func proxy(name string) string {
	if v := os.Getenv(name); v != "" {
		return redact(v)
	}
	return redact(os.Getenv(strings.ToLower(name)))
}

// redact takes user and password out of a URL.
func redact(u string) string {
	scheme, rest, ok := strings.Cut(u, "://")
	if at := strings.LastIndexByte(rest, '@'); ok && at >= 0 {
		return scheme + "://xxxxx:xxxxx" + rest[at:]
	}
	return u
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

func firstByte(path string) byte {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil || len(b) == 0 {
		return 0
	}
	return b[0]
}

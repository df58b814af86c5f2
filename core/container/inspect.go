package container

import (
	"context"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
	apistorage "github.com/moby/moby/api/types/storage"
)

// Inspect implements containers.Reader.
func (m *Manager) Inspect(ctx context.Context, ref string, size bool) (container.InspectResponse, error) {
	u, err := m.find(ref)
	if err != nil {
		return container.InspectResponse{}, err
	}
	u.mu.Lock()
	r, health, execs := u.rec, copyHealth(u.health), u.execIDs()
	u.mu.Unlock()
	host := *r.Host
	if host.Runtime == "" {
		host.Runtime = r.OCIRuntime
		if host.Runtime == "" {
			host.Runtime = r.RuntimeDriver
		}
	}
	out := container.InspectResponse{
		ID: r.ID, Created: r.Created.Format(time.RFC3339Nano), Path: r.Path, Args: nonNil(r.Args),
		State: apiState(r, health), Image: r.ImageID.String(), Name: r.Name, RestartCount: r.Run.RestartCount,
		ResolvConfPath: m.fileSource(r, fileResolv), HostnamePath: m.fileSource(r, fileHostname), HostsPath: m.fileSource(r, fileHosts),
		LogPath: m.logPath(r), Driver: r.StorageDriver, Platform: "linux", ExecIDs: execs, HostConfig: &host,
		Mounts: apiMounts(r), Config: r.Config, NetworkSettings: apiNetwork(r), ImageManifestDescriptor: r.Manifest,
		Storage: &apistorage.Storage{RootFS: &apistorage.RootFSStorage{Snapshot: &apistorage.RootFSStorageSnapshot{Name: r.StorageDriver}}},
	}
	if size {
		out.SizeRw, out.SizeRootFs, err = m.sizes(ctx, r)
	}
	return out, err
}

func apiState(r record, health *container.Health) *container.State {
	s := &container.State{
		Status: r.Run.Status, Running: active(r.Run.Status), Paused: r.Run.Status == container.StatePaused,
		Restarting: r.Run.Status == container.StateRestarting, OOMKilled: r.Run.OOMKilled, Dead: r.Run.Status == container.StateDead,
		Pid: r.Run.Pid, ExitCode: r.Run.ExitCode, Error: r.Run.Error, Health: health,
		StartedAt: r.Run.StartedAt.Format(time.RFC3339Nano), FinishedAt: r.Run.FinishedAt.Format(time.RFC3339Nano),
	}
	if alive(r.Run.Status) {
		s.ExitCode = 0
	}
	return s
}

func copyHealth(h *container.Health) *container.Health {
	if h == nil {
		return nil
	}
	c := *h
	c.Log = slices.Clone(h.Log)
	return &c
}

func apiMounts(r record) []container.MountPoint {
	out := []container.MountPoint{}
	for _, p := range r.Mounts {
		out = append(out, p.api())
	}
	return out
}

func apiNetwork(r record) *container.NetworkSettings {
	n := r.Run.Network
	out := &container.NetworkSettings{SandboxKey: n.NetNS, Ports: n.Ports, Networks: n.Endpoints}
	if n.NetNS != "" {
		out.SandboxID = r.ID
	}
	if out.Ports == nil {
		out.Ports = apinetwork.PortMap{}
	}
	if alive(r.Run.Status) {
		for p := range r.Config.ExposedPorts {
			if _, ok := out.Ports[p]; !ok {
				out.Ports = withPort(out.Ports, p)
			}
		}
	}
	if out.Networks == nil {
		out.Networks = configured(r)
	}
	return out
}

// withPort adds an exposed port that is not published, without changing the
// map, which others read.
func withPort(ports apinetwork.PortMap, p apinetwork.Port) apinetwork.PortMap {
	out := apinetwork.PortMap{p: nil}
	for k, v := range ports {
		out[k] = v
	}
	return out
}

// configured are the networks of a container that does not run.
func configured(r record) map[string]*apinetwork.EndpointSettings {
	out := map[string]*apinetwork.EndpointSettings{}
	for name, e := range r.Endpoints {
		if out[name] = e.Copy(); e == nil {
			out[name] = &apinetwork.EndpointSettings{}
		}
	}
	if len(out) == 0 && !r.Host.NetworkMode.IsContainer() {
		out[string(r.Host.NetworkMode)] = &apinetwork.EndpointSettings{}
	}
	return out
}

// sizes measures what the container wrote and its whole root file system.
func (m *Manager) sizes(ctx context.Context, r record) (rw, all *int64, err error) {
	store := m.cfg.Drivers.Storage()
	u, err := store.Usage(ctx, r.snapshotKey())
	if err != nil {
		return nil, nil, err
	}
	total := u.Bytes
	for key := r.Chain; key != ""; {
		layer, err := store.Usage(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		total += layer.Bytes
		s, err := store.Stat(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		key = s.Parent
	}
	return &u.Bytes, &total, nil
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

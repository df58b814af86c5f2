package container

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"
	"golang.org/x/sync/errgroup"

	"github.com/strakehq/strake/sdk/mishap"
	sdkmount "github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
	"github.com/strakehq/strake/sdk/trace"
)

// Create implements containers.Lifecycle. Nothing is left behind when it
// fails.
func (m *Manager) Create(ctx context.Context, name, platform string, r container.CreateRequest) (_ container.CreateResponse, err error) {
	ctx, end := trace.Start(ctx, "create container")
	defer func() { end(err) }()
	ctx, cancel := bounded(ctx)
	defer cancel()
	if r.Config == nil {
		return container.CreateResponse{}, invalid("config cannot be empty in order to create a container")
	}
	rec, warnings, err := m.design(ctx, platform, r)
	if err != nil {
		return container.CreateResponse{}, err
	}
	var u undo
	defer func() {
		if err != nil {
			err = errors.Join(err, u.run(ctx))
		}
	}()
	if rec.Name, err = m.reserve(name, rec.ID); err != nil {
		return container.CreateResponse{}, err
	}
	u.push(func(context.Context) error { m.unreserve(rec.Name, rec.ID); return nil })
	if m.cfg.Pin != nil {
		keys := []storage.SnapshotKey{rec.snapshotKey()}
		if rec.Chain != "" {
			keys = append(keys, rec.Chain)
		}
		defer m.cfg.Pin(keys...)()
	}
	rootfs, err := m.furnish(ctx, &rec, &u)
	if err != nil {
		return container.CreateResponse{}, err
	}
	made := newUnit(rec)
	made.rootfs = rootfs
	m.mu.Lock()
	m.units[rec.ID] = made
	m.mu.Unlock()
	m.publish(rec, events.ActionCreate)
	if warnings == nil {
		warnings = []string{}
	}
	return container.CreateResponse{ID: rec.ID, Warnings: warnings}, nil
}

// design turns a request into the record of a container, without side
// effects.
func (m *Manager) design(ctx context.Context, platform string, r container.CreateRequest) (rec record, warnings []string, err error) {
	img, err := m.cfg.Images.Get(ctx, r.Image)
	if err != nil {
		return rec, nil, err
	}
	if warnings, err = checkPlatform(r.Image, platform, img); err != nil {
		return rec, nil, err
	}
	rec = record{
		ID: newID(), Created: time.Now().UTC(), ImageID: img.ID, Chain: img.ChainID, Manifest: img.Manifest, Platform: img.Platform,
		StorageDriver: m.cfg.StorageDriver, Run: run{Status: container.StateCreated, Boot: m.boot},
	}
	if rec.Config, err = merge(r.Config, &img.Config); err != nil {
		return rec, nil, err
	}
	if err := validateConfig(rec.Config); err != nil {
		return rec, nil, err
	}
	h := container.HostConfig{}
	if r.HostConfig != nil {
		h = *r.HostConfig
	}
	rec.Host = &h
	m.hostDefaults(&h)
	if err := m.validateHost(&h); err != nil {
		return rec, nil, err
	}
	warnings = append(warnings, m.adapt(&h.Resources)...)
	if err := m.resolveModes(&rec); err != nil {
		return rec, nil, err
	}
	if rec.Mounts, err = m.mountPoints(rec.Config, &h); err != nil {
		return rec, nil, err
	}
	if _, rec.RuntimeDriver, rec.OCIRuntime, err = m.cfg.Drivers.Runtime(h.Runtime); err != nil {
		return rec, nil, fmt.Errorf("unknown or invalid runtime name: %s: %w", h.Runtime, err)
	}
	if err := m.planNetwork(ctx, &rec, r.NetworkingConfig); err != nil {
		return rec, nil, err
	}
	rec.Path, rec.Args = command(rec.Config)
	rec.Config.Image = r.Image
	return rec, warnings, nil
}

func (m *Manager) planNetwork(ctx context.Context, rec *record, n *apinetwork.NetworkingConfig) error {
	h, c := rec.Host, rec.Config
	if c.NetworkDisabled {
		h.NetworkMode = "none"
	}
	var copied apinetwork.NetworkingConfig
	if n != nil {
		copied.EndpointsConfig = maps.Clone(n.EndpointsConfig)
	}
	if copied.EndpointsConfig == nil {
		copied.EndpointsConfig = map[string]*apinetwork.EndpointSettings{}
	}
	if !h.NetworkMode.IsContainer() {
		err := m.cfg.Networks.Plan(ctx, h, &copied)
		if errdefs.IsNotFound(err) {
			// Docker's client takes a create's "not found" for the image
			// and goes to pull it.
			return invalid("%s, create it first", strings.TrimSuffix(err.Error(), ": "+errdefs.ErrNotFound.Error()))
		}
		if err != nil {
			return err
		}
		if h.NetworkMode.IsDefault() || h.NetworkMode == "" {
			h.NetworkMode = "bridge"
		}
	}
	rec.Endpoints = copied.EndpointsConfig
	switch {
	case h.UTSMode.IsHost():
		if c.Hostname != "" {
			return invalid("conflicting options: hostname and the UTS mode")
		}
		c.Hostname = hostname()
	case h.NetworkMode.IsHost() && c.Hostname == "":
		c.Hostname = hostname()
	case h.NetworkMode.IsContainer():
		if c.Hostname != "" {
			return invalid("conflicting options: hostname and the network mode")
		}
		if target, err := m.find(h.NetworkMode.ConnectedContainer()); err == nil {
			t := target.get()
			c.Hostname, c.Domainname = t.Config.Hostname, t.Config.Domainname
		}
	case c.Hostname == "":
		c.Hostname = short(rec.ID)
	}
	return nil
}

// hostDefaults fills in what the daemon decides, so that inspect shows it.
func (m *Manager) hostDefaults(h *container.HostConfig) {
	if h.ShmSize == 0 {
		h.ShmSize = defaultShm
	}
	if h.IpcMode == "" {
		h.IpcMode = container.IPCModePrivate
	}
	if h.CgroupnsMode == "" {
		h.CgroupnsMode = container.CgroupnsModeHost
		if m.machine.CgroupV2 {
			h.CgroupnsMode = container.CgroupnsModePrivate
		}
	}
	if h.Memory > 0 && h.MemorySwap == 0 {
		h.MemorySwap = 2 * h.Memory
	}
	if h.LogConfig.Type == "" {
		h.LogConfig.Type = logDriver
	}
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if h.NetworkMode == "" {
		h.NetworkMode = "default"
	}
	if h.PortBindings == nil {
		h.PortBindings = apinetwork.PortMap{}
	}
	if h.MaskedPaths == nil && !h.Privileged {
		h.MaskedPaths = m.machine.MaskedPaths
	}
	if h.ReadonlyPaths == nil && !h.Privileged {
		h.ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	}
}

// resolveModes replaces names in "container:<name>" by ids, as names may
// change.
func (m *Manager) resolveModes(r *record) error {
	resolve := func(mode string) (string, error) {
		u, err := m.find(mode)
		if err != nil {
			return "", err
		}
		return "container:" + u.id, nil
	}
	h := r.Host
	if h.NetworkMode.IsContainer() {
		s, err := resolve(h.NetworkMode.ConnectedContainer())
		if err != nil {
			return err
		}
		h.NetworkMode = container.NetworkMode(s)
	}
	if h.IpcMode.IsContainer() {
		s, err := resolve(h.IpcMode.Container())
		if err != nil {
			return err
		}
		h.IpcMode = container.IpcMode(s)
	}
	if h.PidMode.IsContainer() {
		s, err := resolve(h.PidMode.Container())
		if err != nil {
			return err
		}
		h.PidMode = container.PidMode(s)
	}
	return nil
}

func checkPlatform(ref, want string, img Image) (warnings []string, err error) {
	have := img.Platform
	if have.OS == "" {
		return nil, nil
	}
	if want != "" {
		p, err := platforms.Parse(want)
		if err != nil {
			return nil, invalid("invalid platform %q: %v", want, err)
		}
		if !platforms.OnlyStrict(p).Match(platforms.Normalize(have)) && !platforms.Only(p).Match(platforms.Normalize(have)) {
			return nil, refuse(errdefs.ErrNotFound, "image with reference %s was found but does not provide the specified platform (%s)", ref, want)
		}
		return nil, nil
	}
	host := platforms.DefaultSpec()
	if !platforms.Only(host).Match(platforms.Normalize(have)) {
		return []string{fmt.Sprintf("The requested image's platform (%s) does not match the detected host platform (%s) and no specific platform was requested",
			platforms.FormatAll(have), platforms.FormatAll(host))}, nil
	}
	return nil, nil
}

// furnish makes what a container owns: its snapshot and, while the driver
// works on that, its volumes, its directory and its record. A record whose
// snapshot never came is removed by Recover.
func (m *Manager) furnish(ctx context.Context, rec *record, u *undo) (rootfs []sdkmount.Mount, err error) {
	opts := storage.PrepareOptions{}
	if s := rec.Host.StorageOpt["size"]; s != "" {
		limit, err := units.RAMInBytes(s)
		if err != nil {
			return nil, invalid("invalid storage option size=%s: %v", s, err)
		}
		opts.SizeLimit = limit
	}
	u.push(func(ctx context.Context) error {
		return m.clear(ctx, newUnit(*rec), *rec, true)
	})
	var g errgroup.Group
	g.Go(func() (err error) {
		ctx, end := trace.Start(ctx, "prepare snapshot")
		defer func() { end(err) }()
		rootfs, err = m.cfg.Drivers.Storage().Prepare(ctx, rec.snapshotKey(), rec.Chain, opts)
		return err
	})
	err = m.useVolumes(ctx, rec)
	if err == nil {
		err = os.MkdirAll(m.file(rec.ID, "rootfs"), 0o710) // where the shim mounts
		mishap.Hit(mishap.ContainerDir)
	}
	if err == nil {
		err = m.save(*rec)
	}
	if err = errors.Join(err, g.Wait()); err != nil {
		return nil, err
	}
	rec.Root, err = m.ownRoot(rec.ID, rootfs)
	return rootfs, err
}

// useVolumes makes the container's volumes and notes where they are.
func (m *Manager) useVolumes(ctx context.Context, rec *record) error {
	for i := range rec.Mounts {
		p := &rec.Mounts[i]
		if p.Type != mount.TypeVolume {
			continue
		}
		v, err := m.cfg.Volumes.Use(ctx, p.Name, p.Driver, p.DriverOpts, p.Labels, rec.ID)
		if err != nil {
			return err
		}
		p.Name, p.Driver, p.Source = v.Name, v.Driver, v.Path
	}
	return nil
}

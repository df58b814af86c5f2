package container

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/sdk/runtime"
)

// Rename implements containers.Lifecycle.
func (m *Manager) Rename(ctx context.Context, ref, newName string) error {
	if newName == "" {
		return invalid("Neither old nor new names may be empty")
	}
	u, done, err := m.locked(ctx, ref)
	if err != nil {
		return err
	}
	defer done()
	r, err := m.allows(u, opRename)
	if err != nil {
		return err
	}
	old := r.Name
	if "/"+newName == old || newName == old {
		return invalid("Renaming a container with the same name as its current name")
	}
	name, err := m.reserve(newName, r.ID)
	if err != nil {
		return err
	}
	r.Name = name
	if err := m.save(r); err != nil {
		m.unreserve(name, r.ID)
		return err
	}
	u.change(func(r *record) { r.Name = name })
	m.unreserve(old, r.ID)
	if err := m.cfg.Networks.Renamed(r.ID, name); err != nil {
		return fmt.Errorf("container %s: renamed, but not for its networks: %w", short(r.ID), err)
	}
	m.publish(r, events.ActionRename, "oldName", old)
	return nil
}

// Update implements containers.Lifecycle.
func (m *Manager) Update(ctx context.Context, ref string, c container.UpdateConfig) (container.UpdateResponse, error) {
	out := container.UpdateResponse{Warnings: []string{}}
	u, done, err := m.locked(ctx, ref)
	if err != nil {
		return out, err
	}
	defer done()
	r, err := m.allows(u, opUpdate)
	if err != nil {
		return out, err
	}
	h := *r.Host
	if err := m.updated(&h, c); err != nil {
		return out, err
	}
	out.Warnings = append(out.Warnings, m.adapt(&h.Resources)...)
	if alive(r.Run.Status) {
		if err := m.apply(ctx, r, h.Resources); err != nil {
			return out, err
		}
	}
	r = u.change(func(r *record) { r.Host = &h })
	if err := m.cfg.Store.Update(func(tx *store.Tx) error { return m.records.Put(tx, r.ID, r) }); err != nil {
		return out, fmt.Errorf("container %s: record: %w", short(r.ID), err)
	}
	m.publish(r, events.ActionUpdate)
	return out, nil
}

// updated applies what an update gives, zero values aside.
func (m *Manager) updated(h *container.HostConfig, c container.UpdateConfig) error {
	if c.RestartPolicy.Name != "" {
		if err := container.ValidateRestartPolicy(c.RestartPolicy); err != nil {
			return classed(errdefs.ErrInvalidArgument, err)
		}
		if h.AutoRemove && !c.RestartPolicy.IsNone() {
			return invalid("Restart policy cannot be updated because AutoRemove is enabled for the container")
		}
		h.RestartPolicy = c.RestartPolicy
	}
	r, n := &h.Resources, c.Resources
	if n.NanoCPUs > 0 && (r.CPUPeriod > 0 || r.CPUQuota > 0) {
		return invalid("Conflicting options: Nano CPUs cannot be updated as CPU Period or CPU Quota has already been set")
	}
	if (n.CPUPeriod > 0 || n.CPUQuota > 0) && r.NanoCPUs > 0 {
		return invalid("Conflicting options: CPU Period or CPU Quota cannot be updated as NanoCPUs has already been set")
	}
	if n.Memory > 0 && r.MemorySwap > 0 && n.Memory > r.MemorySwap && n.MemorySwap == 0 {
		return invalid("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
	}
	for _, f := range []struct{ to, from *int64 }{
		{&r.CPUShares, &n.CPUShares},
		{&r.Memory, &n.Memory},
		{&r.NanoCPUs, &n.NanoCPUs},
		{&r.CPUPeriod, &n.CPUPeriod},
		{&r.CPUQuota, &n.CPUQuota},
		{&r.MemoryReservation, &n.MemoryReservation},
		{&r.MemorySwap, &n.MemorySwap},
	} {
		if *f.from != 0 {
			*f.to = *f.from
		}
	}
	if n.CpusetCpus != "" {
		r.CpusetCpus = n.CpusetCpus
	}
	if n.CpusetMems != "" {
		r.CpusetMems = n.CpusetMems
	}
	if n.BlkioWeight != 0 {
		r.BlkioWeight = n.BlkioWeight
	}
	if n.PidsLimit != nil {
		r.PidsLimit = n.PidsLimit
	}
	return m.validateResources(r)
}

func (m *Manager) apply(ctx context.Context, r record, res container.Resources) error {
	limits, err := m.specs.Resources(res)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(limits)
	if err != nil {
		return fmt.Errorf("container %s: update: %w", short(r.ID), err)
	}
	rt, err := m.runtimeOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := rt.Update(ctx, runtime.ContainerID(r.ID), raw); err != nil {
		return fmt.Errorf("cannot update container %s: %w", short(r.ID), err)
	}
	return nil
}

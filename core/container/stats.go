package container

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/sdk/runtime"
)

const statsInterval = time.Second

// Stats implements containers.Reader. A container that does not run has
// readings of zero.
func (m *Manager) Stats(ctx context.Context, ref string, once, oneShot bool) (iter.Seq2[container.StatsResponse, error], error) {
	u, err := m.find(ref)
	if err != nil {
		return nil, err
	}
	return func(yield func(container.StatsResponse, error) bool) {
		var before container.StatsResponse
		for n := 0; ; n++ {
			now, gone, err := m.reading(ctx, u)
			if gone || ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(now, err)
				return
			}
			now.PreRead, now.PreCPUStats = before.Read, before.CPUStats
			silent := once && !oneShot && n == 0 && now.CPUStats.CPUUsage.TotalUsage > 0
			before = now
			if !silent && !yield(now, nil) || once && !silent {
				return
			}
			select {
			case <-time.After(statsInterval):
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

func (m *Manager) reading(ctx context.Context, u *unit) (out container.StatsResponse, gone bool, err error) {
	u.mu.Lock()
	r, gone := u.rec, u.removed
	u.mu.Unlock()
	out = container.StatsResponse{ID: r.ID, Name: r.Name, OSType: "linux"}
	if gone || !alive(r.Run.Status) {
		return out, gone, nil
	}
	rt, err := m.runtimeOf(r)
	if err != nil {
		return out, false, err
	}
	s, err := rt.Stats(ctx, runtime.ContainerID(r.ID))
	if err != nil {
		if !alive(u.get().Run.Status) { // it has just ended
			return out, false, nil
		}
		return out, false, fmt.Errorf("container %s: stats: %w", short(r.ID), err)
	}
	fillStats(&out, s)
	if l := &out.MemoryStats.Limit; m.machine.Memory > 0 && (*l == 0 || *l > m.machine.Memory) {
		*l = m.machine.Memory // unlimited
	}
	return out, false, nil
}

func fillStats(out *container.StatsResponse, s runtime.Stats) {
	out.Read = s.At
	out.CPUStats = container.CPUStats{
		CPUUsage: container.CPUUsage{
			TotalUsage: s.CPU.Total, PercpuUsage: s.CPU.PerCPU, UsageInKernelmode: s.CPU.Kernel, UsageInUsermode: s.CPU.User,
		},
		SystemUsage: s.CPU.System, OnlineCPUs: s.CPU.OnlineCPUs,
		ThrottlingData: container.ThrottlingData{Periods: s.CPU.Periods, ThrottledPeriods: s.CPU.Throttled, ThrottledTime: s.CPU.ThrottledTime},
	}
	out.MemoryStats = container.MemoryStats{
		Usage: s.Memory.Usage, MaxUsage: s.Memory.MaxUsage, Limit: s.Memory.Limit, Stats: s.Memory.Stats, Failcnt: s.Memory.Failcnt,
	}
	out.PidsStats = container.PidsStats{Current: s.Pids.Current, Limit: s.Pids.Limit}
	for _, b := range s.BlkIO {
		out.BlkioStats.IoServiceBytesRecursive = append(out.BlkioStats.IoServiceBytesRecursive,
			container.BlkioStatEntry{Major: b.Major, Minor: b.Minor, Op: b.Op, Value: b.Bytes})
		out.BlkioStats.IoServicedRecursive = append(out.BlkioStats.IoServicedRecursive,
			container.BlkioStatEntry{Major: b.Major, Minor: b.Minor, Op: b.Op, Value: b.Operations})
	}
	for _, n := range s.Nets {
		if out.Networks == nil {
			out.Networks = map[string]container.NetworkStats{}
		}
		out.Networks[n.Name] = container.NetworkStats{
			RxBytes: n.RxBytes, RxPackets: n.RxPackets, RxErrors: n.RxErrors, RxDropped: n.RxDropped,
			TxBytes: n.TxBytes, TxPackets: n.TxPackets, TxErrors: n.TxErrors, TxDropped: n.TxDropped,
		}
	}
}

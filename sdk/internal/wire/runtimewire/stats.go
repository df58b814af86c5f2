package runtimewire

import (
	pb "github.com/strakehq/strake/sdk/internal/pb/runtimepb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/runtime"
)

func toStats(s runtime.Stats) *pb.StatsResponse {
	c, m := s.CPU, s.Memory
	r := &pb.StatsResponse{
		At: driverwire.ToTime(s.At),
		Cpu: &pb.CPUStats{
			Total: c.Total, User: c.User, Kernel: c.Kernel, PerCpu: c.PerCPU, Periods: c.Periods,
			Throttled: c.Throttled, ThrottledTime: c.ThrottledTime, OnlineCpus: c.OnlineCPUs, System: c.System,
		},
		Memory: &pb.MemoryStats{Usage: m.Usage, MaxUsage: m.MaxUsage, Limit: m.Limit, Stats: m.Stats, Failcnt: m.Failcnt},
		Pids:   &pb.PidsStats{Current: s.Pids.Current, Limit: s.Pids.Limit},
	}
	for _, b := range s.BlkIO {
		r.BlkIo = append(r.BlkIo, &pb.BlkIOEntry{Major: b.Major, Minor: b.Minor, Op: b.Op, Bytes: b.Bytes, Operations: b.Operations})
	}
	for _, n := range s.Nets {
		r.Nets = append(r.Nets, &pb.NetStats{
			Name:    n.Name,
			RxBytes: n.RxBytes, RxPackets: n.RxPackets, RxErrors: n.RxErrors, RxDropped: n.RxDropped,
			TxBytes: n.TxBytes, TxPackets: n.TxPackets, TxErrors: n.TxErrors, TxDropped: n.TxDropped,
		})
	}
	return r
}

func fromStats(r *pb.StatsResponse) runtime.Stats {
	c, m := r.GetCpu(), r.GetMemory()
	s := runtime.Stats{
		At: driverwire.FromTime(r.GetAt()),
		CPU: runtime.CPUStats{
			Total: c.GetTotal(), User: c.GetUser(), Kernel: c.GetKernel(), PerCPU: c.GetPerCpu(), Periods: c.GetPeriods(),
			Throttled: c.GetThrottled(), ThrottledTime: c.GetThrottledTime(), OnlineCPUs: c.GetOnlineCpus(), System: c.GetSystem(),
		},
		Memory: runtime.MemoryStats{
			Usage: m.GetUsage(), MaxUsage: m.GetMaxUsage(), Limit: m.GetLimit(), Stats: m.GetStats(), Failcnt: m.GetFailcnt(),
		},
		Pids: runtime.PidsStats{Current: r.GetPids().GetCurrent(), Limit: r.GetPids().GetLimit()},
	}
	for _, b := range r.GetBlkIo() {
		s.BlkIO = append(s.BlkIO, runtime.BlkIOEntry{
			Major: b.GetMajor(), Minor: b.GetMinor(), Op: b.GetOp(), Bytes: b.GetBytes(), Operations: b.GetOperations(),
		})
	}
	for _, n := range r.GetNets() {
		s.Nets = append(s.Nets, runtime.NetStats{
			Name:    n.GetName(),
			RxBytes: n.GetRxBytes(), RxPackets: n.GetRxPackets(), RxErrors: n.GetRxErrors(), RxDropped: n.GetRxDropped(),
			TxBytes: n.GetTxBytes(), TxPackets: n.GetTxPackets(), TxErrors: n.GetTxErrors(), TxDropped: n.GetTxDropped(),
		})
	}
	return s
}

package container

import (
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/client"
	"github.com/spf13/pflag"
)

// limitFlags bound what a container may use.
type limitFlags struct {
	memory, memoryReservation, shmSize opts.MemBytes
	memorySwap                         opts.MemSwapBytes
	swappiness                         int64
	oomKillDisable                     bool
	oomScoreAdj                        int
	cpus                               opts.NanoCPUs
	cpuShares, cpuPeriod, cpuQuota     int64
	cpuRTPeriod, cpuRTRuntime          int64
	cpusetCPUs, cpusetMems             string
	pids                               int64
	ulimits                            *opts.UlimitOpt
	cgroupParent                       string
	blkioWeight                        uint16
	blkioWeightDevice                  opts.WeightdeviceOpt
	readBps, writeBps                  opts.ThrottledeviceOpt
	readIOps, writeIOps                opts.ThrottledeviceOpt
}

func (l *limitFlags) register(f *pflag.FlagSet) {
	l.ulimits = opts.NewUlimitOpt(nil)
	l.blkioWeightDevice = opts.NewWeightdeviceOpt(opts.ValidateWeightDevice)
	l.readBps, l.writeBps = opts.NewThrottledeviceOpt(opts.ValidateThrottleBpsDevice), opts.NewThrottledeviceOpt(opts.ValidateThrottleBpsDevice)
	l.readIOps, l.writeIOps = opts.NewThrottledeviceOpt(opts.ValidateThrottleIOpsDevice), opts.NewThrottledeviceOpt(opts.ValidateThrottleIOpsDevice)
	f.VarP(&l.memory, "memory", "m", "Memory limit")
	f.Var(&l.memoryReservation, "memory-reservation", "Memory soft limit")
	f.Var(&l.memorySwap, "memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	f.Int64Var(&l.swappiness, "memory-swappiness", -1, "Tune container memory swappiness (0 to 100)")
	f.BoolVar(&l.oomKillDisable, "oom-kill-disable", false, "Disable OOM Killer")
	f.IntVar(&l.oomScoreAdj, "oom-score-adj", 0, "Tune host's OOM preferences (-1000 to 1000)")
	f.Var(&l.shmSize, "shm-size", "Size of /dev/shm")
	f.Var(&l.cpus, "cpus", "Number of CPUs")
	f.Int64VarP(&l.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Int64Var(&l.cpuPeriod, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&l.cpuQuota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	f.Int64Var(&l.cpuRTPeriod, "cpu-rt-period", 0, "Limit CPU real-time period in microseconds")
	f.Int64Var(&l.cpuRTRuntime, "cpu-rt-runtime", 0, "Limit CPU real-time runtime in microseconds")
	f.StringVar(&l.cpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&l.cpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.Int64Var(&l.pids, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.Var(l.ulimits, "ulimit", "Ulimit options")
	f.StringVar(&l.cgroupParent, "cgroup-parent", "", "Optional parent cgroup for the container")
	f.Uint16Var(&l.blkioWeight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable")
	f.Var(&l.blkioWeightDevice, "blkio-weight-device", "Block IO weight (relative device weight)")
	f.Var(&l.readBps, "device-read-bps", "Limit read rate (bytes per second) from a device")
	f.Var(&l.writeBps, "device-write-bps", "Limit write rate (bytes per second) to a device")
	f.Var(&l.readIOps, "device-read-iops", "Limit read rate (IO per second) from a device")
	f.Var(&l.writeIOps, "device-write-iops", "Limit write rate (IO per second) to a device")
}

func (l *limitFlags) apply(f *pflag.FlagSet, c *client.ContainerCreateOptions) error {
	if l.swappiness < -1 || l.swappiness > 100 {
		return fmt.Errorf("--memory-swappiness %d: valid range is 0-100", l.swappiness)
	}
	host := c.HostConfig
	r := &host.Resources
	r.Memory, r.MemoryReservation, r.MemorySwap = l.memory.Value(), l.memoryReservation.Value(), l.memorySwap.Value()
	if f.Changed("memory-swappiness") {
		r.MemorySwappiness = &l.swappiness
	}
	if l.oomKillDisable {
		r.OomKillDisable = &l.oomKillDisable
	}
	if f.Changed("pids-limit") {
		r.PidsLimit = &l.pids
	}
	r.NanoCPUs, r.CPUShares, r.CPUPeriod, r.CPUQuota = l.cpus.Value(), l.cpuShares, l.cpuPeriod, l.cpuQuota
	r.CPURealtimePeriod, r.CPURealtimeRuntime = l.cpuRTPeriod, l.cpuRTRuntime
	r.CpusetCpus, r.CpusetMems, r.CgroupParent = l.cpusetCPUs, l.cpusetMems, l.cgroupParent
	r.Ulimits = l.ulimits.GetList()
	r.BlkioWeight, r.BlkioWeightDevice = l.blkioWeight, l.blkioWeightDevice.GetList()
	r.BlkioDeviceReadBps, r.BlkioDeviceWriteBps = l.readBps.GetList(), l.writeBps.GetList()
	r.BlkioDeviceReadIOps, r.BlkioDeviceWriteIOps = l.readIOps.GetList(), l.writeIOps.GetList()
	host.OomScoreAdj, host.ShmSize = l.oomScoreAdj, l.shmSize.Value()
	return nil
}

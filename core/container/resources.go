package container

import (
	"github.com/moby/moby/api/types/container"
)

const (
	minMemory     = 6 << 20
	defaultShm    = 64 << 20
	minCPUPeriod  = 1000
	maxCPUPeriod  = 1_000_000
	minCPUQuota   = 1000
	nanoPerCPU    = 1_000_000_000
	minNanoCPUs   = nanoPerCPU / 100
	minBlkio      = 10
	maxBlkio      = 1000
	maxSwappiness = 100
)

// validateResources checks limits, with Docker's messages.
func (m *Manager) validateResources(r *container.Resources) error {
	switch {
	case r.Memory != 0 && r.Memory < minMemory:
		return invalid("Minimum memory limit allowed is 6MB")
	case r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.Memory == 0 && r.MemorySwap > 0:
		return invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case r.MemorySwappiness != nil && (*r.MemorySwappiness < -1 || *r.MemorySwappiness > maxSwappiness):
		return invalid("Invalid value: %v, valid memory swappiness range is 0-100", *r.MemorySwappiness)
	case r.MemoryReservation != 0 && r.MemoryReservation < minMemory:
		return invalid("Minimum memory reservation allowed is 6MB")
	case r.Memory > 0 && r.MemoryReservation > 0 && r.Memory < r.MemoryReservation:
		return invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	case r.BlkioWeight != 0 && (r.BlkioWeight < minBlkio || r.BlkioWeight > maxBlkio):
		return invalid("Range of blkio weight is from 10 to 1000")
	}
	return m.validateCPU(r)
}

func (m *Manager) validateCPU(r *container.Resources) error {
	switch {
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
	case r.NanoCPUs > 0 && r.CPUQuota > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set.")
	case r.NanoCPUs != 0 && (r.NanoCPUs < minNanoCPUs || r.NanoCPUs > int64(m.machine.NCPU)*nanoPerCPU):
		return invalid("range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", m.machine.NCPU, m.machine.NCPU)
	case r.CPUShares < 0:
		return invalid("invalid CPU shares (%d): value must be a positive integer", r.CPUShares)
	case r.CPUPeriod != 0 && (r.CPUPeriod < minCPUPeriod || r.CPUPeriod > maxCPUPeriod):
		return invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < minCPUQuota:
		return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	}
	return nil
}

// adapt drops limits that the kernel cannot enforce, as Docker does, and says
// so.
func (m *Manager) adapt(r *container.Resources) (warnings []string) {
	warn := func(w string) { warnings = append(warnings, w) }
	if !m.machine.Has("memory") && (r.Memory > 0 || r.MemoryReservation > 0) {
		warn("Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.")
		r.Memory, r.MemorySwap, r.MemoryReservation = 0, -1, 0
	}
	if r.Memory > 0 && r.MemorySwap != -1 && !m.machine.SwapLimit {
		warn("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.")
		r.MemorySwap = -1
	}
	if r.MemorySwappiness != nil && *r.MemorySwappiness != -1 && !m.machine.Swappiness {
		warn("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.")
		r.MemorySwappiness = nil
	}
	if r.OomKillDisable != nil && *r.OomKillDisable && !m.machine.OOMKillDisable {
		warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
		r.OomKillDisable = nil
	} else if r.OomKillDisable != nil && *r.OomKillDisable && r.Memory == 0 {
		warn("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.")
	}
	if r.PidsLimit != nil && *r.PidsLimit > 0 && !m.machine.Has("pids") {
		warn("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.")
		r.PidsLimit = nil
	}
	if r.NanoCPUs+r.CPUQuota+r.CPUPeriod > 0 && !m.machine.KernelCFS {
		warn("Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. CPU limit discarded.")
		r.NanoCPUs, r.CPUQuota, r.CPUPeriod = 0, 0, 0
	}
	if (r.CpusetCpus != "" || r.CpusetMems != "") && !m.machine.Has("cpuset") {
		warn("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.")
		r.CpusetCpus, r.CpusetMems = "", ""
	}
	if r.BlkioWeight != 0 && !m.machine.BlkioWeight {
		warn("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
		r.BlkioWeight, r.BlkioWeightDevice = 0, nil
	}
	return warnings
}

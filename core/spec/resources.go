package spec

import (
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func (b *Builder) resources(s *specs.Spec, h *container.HostConfig) error {
	r, err := b.Resources(h.Resources)
	if err != nil {
		return err
	}
	if r.Pids != nil && *r.Pids.Limit < 0 {
		r.Pids = nil // a new cgroup has no limit, and crun before 1.9 cannot be asked for none on cgroup v1
	}
	r.Devices = s.Linux.Resources.Devices
	s.Linux.Resources = r
	return nil
}

// Resources converts limits, also for an update of a running container.
func (b *Builder) Resources(r container.Resources) (*specs.LinuxResources, error) {
	out := &specs.LinuxResources{Memory: memory(r), CPU: cpu(r), Pids: pids(r)}
	var err error
	out.BlockIO, err = blockIO(r)
	return out, err
}

func memory(r container.Resources) *specs.LinuxMemory {
	m := specs.LinuxMemory{
		Limit: positive(r.Memory), Reservation: positive(r.MemoryReservation), Swap: positive(r.MemorySwap),
		DisableOOMKiller: r.OomKillDisable,
	}
	if r.Memory > 0 && r.MemorySwap < 0 {
		m.Swap = &r.MemorySwap // -1: unlimited
	}
	if r.MemorySwappiness != nil && *r.MemorySwappiness >= 0 {
		v := uint64(*r.MemorySwappiness)
		m.Swappiness = &v
	}
	if m == (specs.LinuxMemory{}) {
		return nil
	}
	return &m
}

// period is the CFS period in microseconds that --cpus is converted with.
const period = uint64(100_000)

func cpu(r container.Resources) *specs.LinuxCPU {
	c := specs.LinuxCPU{Cpus: r.CpusetCpus, Mems: r.CpusetMems, Quota: positive(r.CPUQuota), RealtimeRuntime: positive(r.CPURealtimeRuntime)}
	c.Shares, c.Period, c.RealtimePeriod = unsigned(r.CPUShares), unsigned(r.CPUPeriod), unsigned(r.CPURealtimePeriod)
	if r.CPUQuota < 0 {
		c.Quota = &r.CPUQuota
	}
	if r.NanoCPUs > 0 {
		p, q := period, r.NanoCPUs*int64(period)/1e9
		c.Period, c.Quota = &p, &q
	}
	if c == (specs.LinuxCPU{}) {
		return nil
	}
	return &c
}

func pids(r container.Resources) *specs.LinuxPids {
	if r.PidsLimit == nil {
		return nil
	}
	limit := *r.PidsLimit
	if limit <= 0 {
		limit = -1 // unlimited
	}
	return &specs.LinuxPids{Limit: &limit}
}

func blockIO(r container.Resources) (*specs.LinuxBlockIO, error) {
	var out specs.LinuxBlockIO
	if r.BlkioWeight != 0 {
		out.Weight = &r.BlkioWeight
	}
	for _, d := range r.BlkioWeightDevice {
		major, minor, err := deviceNumber(d.Path)
		if err != nil {
			return nil, err
		}
		w := specs.LinuxWeightDevice{Weight: &d.Weight}
		w.Major, w.Minor = major, minor
		out.WeightDevice = append(out.WeightDevice, w)
	}
	for _, list := range []struct {
		in  []*blkiodev.ThrottleDevice
		out *[]specs.LinuxThrottleDevice
	}{
		{r.BlkioDeviceReadBps, &out.ThrottleReadBpsDevice},
		{r.BlkioDeviceWriteBps, &out.ThrottleWriteBpsDevice},
		{r.BlkioDeviceReadIOps, &out.ThrottleReadIOPSDevice},
		{r.BlkioDeviceWriteIOps, &out.ThrottleWriteIOPSDevice},
	} {
		for _, d := range list.in {
			major, minor, err := deviceNumber(d.Path)
			if err != nil {
				return nil, err
			}
			t := specs.LinuxThrottleDevice{Rate: d.Rate}
			t.Major, t.Minor = major, minor
			*list.out = append(*list.out, t)
		}
	}
	return &out, nil
}

func deviceNumber(path string) (major, minor int64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, fmt.Errorf("block device %s: %w: %w", path, &os.PathError{Op: "stat", Path: path, Err: err}, errdefs.ErrInvalidArgument)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, fmt.Errorf("%s is not a block device: %w", path, errdefs.ErrInvalidArgument)
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), nil
}

func positive(v int64) *int64 {
	if v <= 0 {
		return nil
	}
	return &v
}

func unsigned(v int64) *uint64 {
	if v <= 0 {
		return nil
	}
	u := uint64(v)
	return &u
}

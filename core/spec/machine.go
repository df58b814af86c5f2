package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/seccomp"
)

// Machine holds the facts about the host that specifications depend on. They
// do not change while the daemon runs.
type Machine struct {
	CgroupV2 bool
	// Controllers are the cgroup controllers in use, v1 or v2.
	Controllers []string
	// SwapLimit, MemoryReservation, Swappiness, OOMKillDisable, KernelCFS
	// and BlkioWeight say that the kernel enforces these limits.
	SwapLimit, MemoryReservation, Swappiness, OOMKillDisable, KernelCFS, BlkioWeight bool
	// NCPU is the number of processors that the daemon may use.
	NCPU int
	// Capabilities are the names ("CAP_CHOWN") that the kernel knows and the
	// daemon has in its bounding set, by number.
	Capabilities []string
	// MaskedPaths are the default masked paths; those of thermal throttling
	// exist per processor.
	MaskedPaths []string
	// PingGroupRange and UnprivilegedPorts: the sysctls exist.
	PingGroupRange, UnprivilegedPorts bool
	// RaiseLimits: the daemon may raise hard limits and lower OOM scores
	// (CAP_SYS_RESOURCE).
	RaiseLimits bool
	// OOMScoreAdj is the daemon's own.
	OOMScoreAdj int
	// Memory is the host's, in bytes; 0: unknown.
	Memory uint64
	// AppArmor and SELinux are enabled on the host.
	AppArmor, SELinux bool
	// X32: the kernel runs programs of the x32 ABI.
	X32 bool
}

// Detect reads the facts about this host.
func Detect() Machine {
	m := Machine{
		NCPU:              onlineCPUs(),
		Capabilities:      boundingSet(),
		MaskedPaths:       maskedPaths(),
		PingGroupRange:    exists("/proc/sys/net/ipv4/ping_group_range"),
		UnprivilegedPorts: exists("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
		AppArmor:          firstByte("/sys/module/apparmor/parameters/enabled") == 'Y',
		SELinux:           exists("/sys/fs/selinux/enforce"),
		X32:               seccomp.KernelHasX32(),
	}
	m.RaiseLimits = slices.Contains(m.Capabilities, "CAP_SYS_RESOURCE")
	m.OOMScoreAdj = oomScoreAdj()
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // 32 bits wide on some architectures
	}
	m.detectCgroups("/sys/fs/cgroup")
	return m
}

func (m *Machine) detectCgroups(root string) {
	var st unix.Statfs_t
	if unix.Statfs(root, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		m.CgroupV2 = true
		if b, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err == nil {
			m.Controllers = strings.Fields(string(b))
		}
		has := func(c string) bool { return slices.Contains(m.Controllers, c) }
		m.SwapLimit = has("memory") && exists("/proc/swaps")
		m.MemoryReservation, m.KernelCFS, m.BlkioWeight = has("memory"), has("cpu"), has("io")
		return
	}
	for _, c := range []string{"cpu", "cpuset", "memory", "pids", "blkio", "devices", "freezer"} {
		if exists(filepath.Join(root, c, "tasks")) {
			m.Controllers = append(m.Controllers, c)
		}
	}
	m.SwapLimit = exists(filepath.Join(root, "memory/memory.memsw.limit_in_bytes"))
	m.MemoryReservation = exists(filepath.Join(root, "memory/memory.soft_limit_in_bytes"))
	m.Swappiness = exists(filepath.Join(root, "memory/memory.swappiness"))
	m.OOMKillDisable = exists(filepath.Join(root, "memory/memory.oom_control"))
	m.KernelCFS = exists(filepath.Join(root, "cpu/cpu.cfs_quota_us"))
	m.BlkioWeight = exists(filepath.Join(root, "blkio/blkio.weight"))
}

// Has says whether a cgroup controller is in use.
func (m Machine) Has(controller string) bool { return slices.Contains(m.Controllers, controller) }

func maskedPaths() []string {
	p := []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	// The throttling counters leak what other tenants compute
	// (GHSA-6fw5-f8r9-fgfm).
	for i := 0; ; i++ {
		cpu := fmt.Sprintf("/sys/devices/system/cpu/cpu%d", i)
		if !exists(cpu) {
			return p
		}
		if t := cpu + "/thermal_throttle"; exists(t) {
			p = append(p, t)
		}
	}
}

func onlineCPUs() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 1
	}
	return set.Count()
}

func oomScoreAdj() int {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return n
}

func boundingSet() (names []string) {
	for i, name := range capabilityNames() {
		if on, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(i), 0, 0, 0); err == nil && on == 1 {
			names = append(names, name)
		}
	}
	return names
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func firstByte(path string) byte {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return 0
	}
	return b[0]
}

// hardLimit returns the daemon's own hard limit, the most that a container
// can have without CAP_SYS_RESOURCE.
func hardLimit(resource int) (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(resource, &l); err != nil {
		return 0, fmt.Errorf("rlimit %s: read: %w", strconv.Itoa(resource), err)
	}
	return l.Max, nil
}

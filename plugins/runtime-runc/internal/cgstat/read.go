package cgstat

import (
	"math"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/runtime"
)

// tick is the unit of processor times in cpuacct.stat and /proc/stat: USER_HZ,
// which is 100 on all architectures of Linux that Go knows.
const tick = uint64(time.Second / 100)

// Read takes one reading of the cgroups and of the network namespace of a
// process.
func (g Groups) Read(pid int) runtime.Stats {
	s := runtime.Stats{At: time.Now(), Nets: nets(pid)}
	if g.V2 != "" {
		g.read2(&s)
	} else {
		g.read1(&s)
	}
	s.CPU.OnlineCPUs, s.CPU.System = uint32(goruntime.NumCPU()), systemTime()
	if total := hostMemory(); s.Memory.Limit > total {
		s.Memory.Limit = total
	}
	if s.Pids.Limit == math.MaxUint64 {
		s.Pids.Limit = 0
	}
	return s
}

func (g Groups) read2(s *runtime.Stats) {
	usec := uint64(time.Microsecond)
	c := table(g.V2, "cpu.stat")
	s.CPU = runtime.CPUStats{
		Total: c["usage_usec"] * usec, User: c["user_usec"] * usec, Kernel: c["system_usec"] * usec,
		Periods: c["nr_periods"], Throttled: c["nr_throttled"], ThrottledTime: c["throttled_usec"] * usec,
	}
	s.Memory = runtime.MemoryStats{
		Usage: number(g.V2, "memory.current"), MaxUsage: number(g.V2, "memory.peak"), Limit: number(g.V2, "memory.max"),
		Stats: table(g.V2, "memory.stat"), Failcnt: table(g.V2, "memory.events")["max"],
	}
	s.Pids = runtime.PidsStats{Current: number(g.V2, "pids.current"), Limit: number(g.V2, "pids.max")}
	for _, f := range rows(g.V2 + "/io.stat") {
		s.BlkIO = append(s.BlkIO, blkIO2(f)...)
	}
}

// blkIO2 reads "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …".
func blkIO2(f []string) []runtime.BlkIOEntry {
	if len(f) == 0 {
		return nil
	}
	values := map[string]uint64{}
	for _, kv := range f[1:] {
		if k, v, ok := strings.Cut(kv, "="); ok {
			values[k] = parse(v)
		}
	}
	major, minor := device(f[0])
	return []runtime.BlkIOEntry{
		{Major: major, Minor: minor, Op: "read", Bytes: values["rbytes"], Operations: values["rios"]},
		{Major: major, Minor: minor, Op: "write", Bytes: values["wbytes"], Operations: values["wios"]},
	}
}

func device(s string) (major, minor uint64) {
	a, b, _ := strings.Cut(s, ":")
	return parse(a), parse(b)
}

func (g Groups) read1(s *runtime.Stats) {
	acct, throttle := table(g.V1["cpuacct"], "cpuacct.stat"), table(g.V1["cpu"], "cpu.stat")
	s.CPU = runtime.CPUStats{
		Total: number(g.V1["cpuacct"], "cpuacct.usage"), User: acct["user"] * tick, Kernel: acct["system"] * tick,
		Periods: throttle["nr_periods"], Throttled: throttle["nr_throttled"], ThrottledTime: throttle["throttled_time"],
	}
	for _, f := range rows(g.V1["cpuacct"] + "/cpuacct.usage_percpu") {
		for _, n := range f {
			s.CPU.PerCPU = append(s.CPU.PerCPU, parse(n))
		}
	}
	m := g.V1["memory"]
	s.Memory = runtime.MemoryStats{
		Usage: number(m, "memory.usage_in_bytes"), MaxUsage: number(m, "memory.max_usage_in_bytes"),
		Limit: number(m, "memory.limit_in_bytes"), Failcnt: number(m, "memory.failcnt"), Stats: table(m, "memory.stat"),
	}
	s.Pids = runtime.PidsStats{Current: number(g.V1["pids"], "pids.current"), Limit: number(g.V1["pids"], "pids.max")}
	s.BlkIO = blkIO1(g.V1["blkio"])
}

// blkIO1 reads lines like "8:0 Read 123" of two files.
func blkIO1(dir string) (entries []runtime.BlkIOEntry) {
	index := map[string]int{}
	for _, file := range []string{"bytes", "ops"} {
		name := map[string]string{"bytes": "blkio.throttle.io_service_bytes_recursive", "ops": "blkio.throttle.io_serviced_recursive"}[file]
		for _, f := range rows(dir + "/" + name) {
			if len(f) != 3 {
				continue // the line with the total
			}
			i, ok := index[f[0]+f[1]]
			if !ok {
				i = len(entries)
				index[f[0]+f[1]] = i
				major, minor := device(f[0])
				entries = append(entries, runtime.BlkIOEntry{Major: major, Minor: minor, Op: strings.ToLower(f[1])})
			}
			if file == "bytes" {
				entries[i].Bytes = parse(f[2])
			} else {
				entries[i].Operations = parse(f[2])
			}
		}
	}
	return entries
}

// nets reads the interfaces of a process's network namespace, loopback aside.
func nets(pid int) (all []runtime.NetStats) {
	for _, f := range rows("/proc/" + strconv.Itoa(pid) + "/net/dev") {
		name, ok := "", false
		if len(f) == 17 {
			name, ok = strings.CutSuffix(f[0], ":")
		}
		if !ok || name == "lo" {
			continue
		}
		n := func(i int) uint64 { return parse(f[i]) }
		all = append(all, runtime.NetStats{
			Name: name, RxBytes: n(1), RxPackets: n(2), RxErrors: n(3), RxDropped: n(4),
			TxBytes: n(9), TxPackets: n(10), TxErrors: n(11), TxDropped: n(12),
		})
	}
	return all
}

// systemTime is the host's processor time: user, nice, system, idle, iowait,
// irq, softirq and steal of all processors.
func systemTime() (sum uint64) {
	all := rows("/proc/stat")
	if len(all) == 0 || len(all[0]) < 9 {
		return 0
	}
	for _, n := range all[0][1:9] {
		sum += parse(n) * tick
	}
	return sum
}

func hostMemory() uint64 {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return math.MaxUint64
	}
	return i.Totalram * uint64(i.Unit)
}

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts are type, flags and propagation by mount point; what differs by nature
// (sizes, layers' directories) is left out.
func mounts(r report) {
	for l := range strings.Lines(read("/proc/self/mountinfo")) {
		f := strings.Fields(l)
		sep := slices.Index(f, "-")
		if sep < 6 || len(f) < sep+4 {
			continue
		}
		propagation := "private"
		for _, o := range f[6:sep] {
			kind, _, _ := strings.Cut(o, ":")
			propagation = kind
		}
		flags := strings.Split(f[5], ",")
		slices.Sort(flags)
		super := "rw"
		if strings.HasPrefix(f[sep+3], "ro") {
			super = "ro"
		}
		key := "mount." + f[4]
		if r[key] != "" {
			key += "+" // stacked
		}
		r[key] = strings.Join([]string{f[sep+1], strings.Join(flags, ","), "super=" + super, propagation}, " ")
	}
}

// cgroups is what of them is seen and can be changed.
func cgroups(r report) {
	var own []string
	for l := range strings.Lines(read("/proc/self/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(l), ":", 3)
		if len(f) == 3 {
			view := "path"
			if f[2] == "/" {
				view = "/"
			}
			own = append(own, f[1]+":"+view)
		}
	}
	r["cgroup.self"] = words(own)
	dirs, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		r["cgroup"] = answer(err)
		return
	}
	for _, d := range append(dirs, "/sys/fs/cgroup") {
		if fi, err := os.Stat(d); err != nil || !fi.IsDir() {
			continue
		}
		err := os.Mkdir(filepath.Join(d, "strake-probe"), 0o755)
		if err == nil {
			err = os.Remove(filepath.Join(d, "strake-probe"))
		}
		r["cgroup.mkdir."+filepath.Base(d)] = answer(err)
		r["cgroup.release."+filepath.Base(d)] = openForWriting(filepath.Join(d, "release_agent"))
	}
}

// openForWriting opens without writing.
func openForWriting(path string) string {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err == nil {
		err = unix.Close(fd)
	}
	return answer(err)
}

// depth bounds the walk: what lies deeper is no more protected.
const depth = 4

// files lists what can be written below /proc and /sys, and what the sensitive
// paths give.
func files(r report) {
	for _, top := range []string{"/proc", "/sys"} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // unreadable, or gone meanwhile
			}
			if d.IsDir() {
				if skipped(path) || readOnly(path) {
					return fs.SkipDir
				}
				return nil
			}
			if d.Type().IsRegular() && openForWriting(path) == "ok" {
				r["write."+path] = "ok"
			}
			return nil
		})
		if err != nil {
			r["write."+top] = answer(err)
		}
	}
	for _, p := range sensitive() {
		r["path."+p] = content(p) + " " + openForWriting(p)
	}
}

// readOnly says that path is on a read-only mount: nothing on it can be opened
// for writing.
func readOnly(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

func skipped(path string) bool {
	name := filepath.Base(path)
	switch {
	case filepath.Dir(path) == "/proc" && (name[0] >= '0' && name[0] <= '9'):
		return true // processes, this one among them
	case path == "/sys/fs/cgroup", path == "/sys/kernel/tracing", path == "/sys/kernel/debug", path == "/proc/self", path == "/proc/thread-self":
		return true
	}
	return strings.Count(path, "/") >= depth
}

// sensitive are the paths that engines mask or protect, and some that they
// should.
func sensitive() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/proc/kallsyms", "/proc/kmsg", "/proc/kpagecount", "/proc/sysrq-trigger",
		"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
		"/proc/sys/vm/panic_on_oom", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/net/ipv4/ip_forward", "/proc/mtrr", "/proc/config.gz",
		"/proc/self/mem", "/proc/1/root", "/proc/1/environ", "/sys/firmware", "/sys/kernel/uevent_helper", "/sys/kernel/debug", "/sys/kernel/security",
		"/sys/kernel/vmcoreinfo", "/sys/kernel/profiling", "/sys/power/state", "/sys/devices/virtual/powercap", "/sys/class/powercap",
		"/sys/devices/system/cpu/cpu0/thermal_throttle", "/sys/fs/bpf", "/sys/fs/selinux", "/sys/module",
	}
}

// content says what reading gives: an error, nothing, or something.
func content(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return answer(err)
	}
	if fi.IsDir() {
		list, err := os.ReadDir(path)
		switch {
		case err != nil:
			return "directory " + answer(err)
		case len(list) == 0:
			return "directory empty"
		default:
			return "directory full"
		}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return answer(err)
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, make([]byte, 64))
	switch {
	case err != nil:
		return "read " + answer(err)
	case n == 0:
		return "empty"
	default:
		return "bytes"
	}
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// answer is an error's number by name, "ok" for none.
func answer(err error) string {
	var no unix.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &no):
		return unix.ErrnoName(no)
	default:
		return err.Error()
	}
}

// descriptors are what the process was started with, before it opened anything
// itself.
func descriptors(r report) {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		r["fd"] = answer(err)
		return
	}
	for _, e := range list {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || to == "/proc/"+strconv.Itoa(os.Getpid())+"/fd" || strings.HasPrefix(to, "anon_inode:") {
			continue // the listing itself, and the Go runtime's poller
		}
		kind, _, _ := strings.Cut(to, ":[")
		r["fd."+e.Name()] = kind
	}
	r["cwd"], err = os.Readlink("/proc/self/cwd")
	if err != nil {
		r["cwd"] = answer(err)
	}
}

// process is what the kernel says of it.
func process(r report) {
	for l := range strings.Lines(read("/proc/self/status")) {
		k, v, _ := strings.Cut(strings.TrimSpace(l), ":")
		switch k {
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Uid", "Gid", "Groups", "Umask", "NSpid":
			r["status."+k] = strings.Join(strings.Fields(v), " ")
		}
	}
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	r["securebits"] = fmt.Sprint(bits, " ", answer(err))
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	r["dumpable"] = fmt.Sprint(dumpable, " ", answer(err))
	for _, f := range []string{"oom_score_adj", "uid_map", "gid_map", "setgroups", "attr/current", "loginuid", "timens_offsets", "coredump_filter"} {
		r["self."+f] = strings.Join(strings.Fields(read("/proc/self/"+f)), " ")
	}
	var names []string
	for _, e := range os.Environ() {
		k, _, _ := strings.Cut(e, "=")
		names = append(names, k)
	}
	r["environment"] = words(names)
}

// limits are the resource limits by number.
func limits(r report) {
	for l := range strings.Lines(read("/proc/self/limits")) {
		if len(l) > 26 && strings.HasPrefix(l, "Max") {
			f := strings.Fields(l[26:])
			r["limit."+strings.ReplaceAll(strings.TrimSpace(l[:26]), " ", "-")] = strings.Join(f[:min(2, len(f))], " ")
		}
	}
}

// namespaces are identities, for whoever reads the report to compare with his
// own.
func namespaces(r report) {
	links, err := filepath.Glob("/proc/self/ns/*")
	if err != nil {
		r["ns"] = answer(err)
		return
	}
	for _, l := range links {
		to, err := os.Readlink(l)
		if err != nil {
			to = answer(err)
		}
		r["ns."+filepath.Base(l)] = to
	}
}

package system

import (
	"fmt"
	"slices"
	"strings"
)

// fault is one of an OCI runtime by which a container can get at the host.
type fault struct {
	cves string
	// mended are the first versions without it, one for each branch (major and
	// minor number) that was mended, oldest first.
	mended []string
}

// faults are those of docs/security.md that need no unusual flags, by the
// runtime's name.
func faults() map[string][]fault {
	return map[string][]fault{
		"runc": {
			{"CVE-2024-21626", []string{"1.1.12"}},
			{"CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", []string{"1.2.8", "1.3.3", "1.4.0"}},
		},
	}
}

// warning names the faults that upstream mended after this version; empty when
// there are none, or the version is not known.
func (r ociRuntime) warning() string {
	have, ok := numbers(r.version)
	if !ok {
		return ""
	}
	var open []string
	for _, f := range faults()[r.name] {
		if !f.isMendedIn(have) {
			open = append(open, fmt.Sprintf("%s (mended in %s)", f.cves, strings.Join(f.mended, ", ")))
		}
	}
	if len(open) == 0 {
		return ""
	}
	return fmt.Sprintf("WARNING: %s %s lacks upstream's fixes of faults that let containers escape: %s. A distribution may have mended its package under the old version: look at its changelog",
		r.name, r.version, strings.Join(open, "; "))
}

// isMendedIn says whether a version is on a branch that was mended, and not
// before that, or on a newer branch than all of those.
func (f fault) isMendedIn(have [3]int) bool {
	for _, v := range f.mended {
		m, _ := numbers(v)
		if slices.Equal(m[:2], have[:2]) {
			return have[2] >= m[2]
		}
	}
	last, _ := numbers(f.mended[len(f.mended)-1])
	return slices.Compare(have[:], last[:]) > 0
}

// numbers are the three that a version begins with. What follows them, as in
// "1.1.5+ds1" or "1.4.0-rc.1", does not count.
func numbers(version string) (n [3]int, ok bool) {
	_, err := fmt.Sscanf(version, "%d.%d.%d", &n[0], &n[1], &n[2])
	return n, err == nil
}

package isolation

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strakehq/strake/test/testkit"
)

// callNames are this architecture's system calls by number, as x/sys has them.
func callNames(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys")
	cmd.Dir = testkit.Root()
	dir, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+runtime.GOARCH+".go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, m := range regexp.MustCompile(`SYS_(\w+)\s+= (\d+)`).FindAllStringSubmatch(string(src), -1) {
		names[m[2]] = strings.ToLower(m[1])
	}
	return names
}

// denied says that a filter, or a kernel without the call, answered.
func denied(answer string) bool { return answer == "EPERM" || answer == "ENOSYS" }

// allowedCalls are the calls that the profile allows whatever their arguments,
// and those that it allows with some.
func allowedCalls(t *testing.T, capabilities ...string) (always, sometimes map[string]bool) {
	t.Helper()
	f, err := seccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}}})
	if err != nil {
		t.Fatal(err)
	}
	always, sometimes = map[string]bool{}, map[string]bool{}
	for _, rule := range f.Syscalls {
		for _, name := range rule.Names {
			switch {
			case rule.Action != specs.ActAllow:
			case len(rule.Args) == 0:
				always[name] = true
			default:
				sometimes[name] = true
			}
		}
	}
	return always, sometimes
}

// Every call of this architecture is made with seccomp and without. What the
// profile allows is answered by the kernel in both, all else is denied.
func checkCalls(t *testing.T, filtered, unfiltered report) {
	t.Helper()
	names := callNames(t)
	always, sometimes := allowedCalls(t, defaultCapabilities()...)
	compared, refused := 0, 0
	for key, got := range filtered {
		nr, ok := strings.CutPrefix(key, "call.")
		name := names[nr]
		switch {
		case !ok || sometimes[name]:
		case always[name]:
			compared++
			// A libseccomp that is older than a call answers ENOSYS for it.
			if got != unfiltered[key] && got != "ENOSYS" {
				t.Errorf("%s (%s) is allowed and answered with %s, without seccomp with %s", name, nr, got, unfiltered[key])
			}
		default:
			refused++
			if !denied(got) {
				t.Errorf("%s (%s) is not in the profile and answered with %s", name, nr, got)
			}
		}
	}
	if compared < 250 || refused < 60 {
		t.Errorf("%d calls compared and %d refused: the probe looked at too few", compared, refused)
	}
}

func defaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// prefixed lists the keys of a report that begin so, sorted.
func (r report) prefixed(prefix string) []string {
	var out []string
	for k := range r {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

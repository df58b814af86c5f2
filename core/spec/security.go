package spec

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// security is a container's --security-opt, parsed.
type security struct {
	// seccomp is empty for the default profile, "unconfined", or the JSON of
	// a profile, which clients read from the file that the user names.
	seccomp         string
	noNewPrivileges bool
	writableCgroups bool
}

const unconfined = "unconfined"

// CheckSecurity reports the first option that cannot be honoured.
func (m Machine) CheckSecurity(opts []string) error {
	if _, err := parseSecurity(opts); err != nil {
		return err
	}
	for _, o := range opts {
		k, v := cutOption(o)
		if k == "apparmor" && v != unconfined && v != "" {
			return fmt.Errorf("security option apparmor=%s: profiles are not supported, use apparmor=unconfined: %w", v, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

func parseSecurity(opts []string) (s security, err error) {
	for _, o := range opts {
		k, v := cutOption(o)
		switch k {
		case "no-new-privileges":
			s.noNewPrivileges, err = flag(k, v)
		case "writable-cgroups":
			s.writableCgroups, err = flag(k, v)
		case "seccomp":
			s.seccomp = v
			if v == "builtin" {
				s.seccomp = ""
			}
		case "apparmor", "label", "disable":
			// No profile or label is applied: nothing to switch off.
		default:
			err = fmt.Errorf("invalid --security-opt: %q: known options are apparmor, label, no-new-privileges, seccomp and writable-cgroups: %w", o, errdefs.ErrInvalidArgument)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// cutOption splits at "=" or, as old clients write it, ":".
func cutOption(o string) (k, v string) {
	k, v, ok := strings.Cut(o, "=")
	if !ok {
		k, v, _ = strings.Cut(o, ":")
	}
	return k, v
}

func flag(name, v string) (bool, error) {
	if v == "" {
		return true, nil
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("invalid --security-opt: %s=%s is neither true nor false: %w", name, v, errdefs.ErrInvalidArgument)
	}
	return on, nil
}

// seccomp returns the filter for a profile and a set of capabilities; nil for
// none.
func (b *Builder) seccomp(s security, privileged bool, caps []string) (*specs.LinuxSeccomp, error) {
	if s.seccomp == unconfined || s.seccomp == "" && privileged {
		return nil, nil
	}
	key := s.seccomp + "\x00" + join(caps)
	b.mu.Lock()
	defer b.mu.Unlock()
	if f, ok := b.filters[key]; ok {
		return f, nil
	}
	f, err := makeFilter(s.seccomp, caps)
	if err != nil {
		return nil, err
	}
	if len(b.filters) >= 64 { // profiles come from clients: bounded
		clear(b.filters)
	}
	b.filters[key] = f
	return f, nil
}

func makeFilter(profile string, caps []string) (*specs.LinuxSeccomp, error) {
	// The profile's conditions ask for the bounding set.
	rs := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	if profile == "" {
		f, err := seccomp.GetDefaultProfile(rs)
		if err != nil {
			return nil, fmt.Errorf("seccomp: default profile: %w", err)
		}
		return f, nil
	}
	f, err := seccomp.LoadProfile(profile, rs)
	if err != nil {
		return nil, fmt.Errorf("seccomp: profile: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return f, nil
}

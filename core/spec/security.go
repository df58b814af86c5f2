package spec

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
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

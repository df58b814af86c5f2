package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// capabilityNames lists all capabilities by number (linux/capability.h).
func capabilityNames() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
		"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
		"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
		"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
		"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
		"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
}

func defaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

const allCapabilities = "ALL"

// NormalizeCapabilities turns what users write ("net_admin", "CAP_NET_ADMIN",
// "all") into the names of the specification. An unknown one is
// ErrInvalidArgument.
func NormalizeCapabilities(names []string) ([]string, error) {
	known := capabilityNames()
	out := make([]string, 0, len(names))
	for _, n := range names {
		c := strings.ToUpper(n)
		if c == allCapabilities {
			out = append(out, c)
			continue
		}
		if !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if !slices.Contains(known, c) {
			return nil, fmt.Errorf("invalid capability: unknown capability to add or drop: %q: %w", n, errdefs.ErrInvalidArgument)
		}
		out = append(out, c)
	}
	return out, nil
}

// capabilities works out a container's set. The inheritable and ambient sets
// stay empty (GHSA-2mm7-x5h6-5pvq).
func capabilities(h *container.HostConfig, available []string) (*specs.LinuxCapabilities, error) {
	add, err := NormalizeCapabilities(h.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := NormalizeCapabilities(h.CapDrop)
	if err != nil {
		return nil, err
	}
	set := tweak(h.Privileged, add, drop, available)
	return &specs.LinuxCapabilities{Bounding: set, Effective: set, Permitted: set}, nil
}

// tweak follows moby's TweakCapabilities. Only what the kernel and the daemon
// have can be given: the OCI runtime would refuse the rest.
func tweak(privileged bool, add, drop, available []string) []string {
	have := func(c string) bool { return slices.Contains(available, c) }
	without := func(from, what []string) (out []string) {
		for _, c := range from {
			if !slices.Contains(what, c) && have(c) && !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
		return out
	}
	switch {
	case privileged:
		return slices.Clone(available)
	case slices.Contains(add, allCapabilities):
		return without(available, drop)
	case slices.Contains(drop, allCapabilities):
		return without(add, nil)
	default:
		return without(append(without(defaultCapabilities(), drop), add...), nil)
	}
}

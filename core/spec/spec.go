// Package spec makes the OCI runtime specification of a container, as Docker
// makes it: the same defaults, the same limits on what a container may see and
// do, the same reading of every option.
//
// A Builder keeps what all containers share: facts about the machine, and
// seccomp filters already worked out per set of capabilities. Build itself
// reads no file unless an option asks for a device or a profile.
package spec

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strakehq/strake/core/userns"
)

// Input is all that one container's specification depends on.
type Input struct {
	ID     string
	Config *container.Config
	Host   *container.HostConfig
	// Hostname is the full host name, empty with the host's UTS namespace.
	Hostname string
	// Args are the entrypoint and the command together.
	Args []string
	User specs.User
	// Mounts are those of the user, tmpfs included, and the files that the
	// daemon writes. A mount replaces a default one of the same destination.
	Mounts []Mount
	// NetNS is the path of the network namespace; empty: the host's.
	NetNS string
	// OwnNet says that the network namespace is not shared with others.
	OwnNet bool
	// Joined are the namespaces of other containers to be entered.
	Joined map[specs.LinuxNamespaceType]string
	// UserNS is the user namespace to run in; nil: the daemon's. The other
	// namespaces that are to be joined must be its own.
	UserNS *UserNS
	// CgroupsPath is the cgroup below each hierarchy's root.
	CgroupsPath string
	// InitPath is the program to run as process 1 in front of Args; empty:
	// none.
	InitPath string
}

// UserNS is a user namespace.
type UserNS struct {
	// Path is its file.
	Path string
	// IDs is its mapping.
	IDs user.IdentityMapping
}

// Builder makes specifications. It is safe for concurrent use.
type Builder struct {
	machine Machine
	mu      sync.Mutex
	filters map[string]filter // guarded by mu; keyed by profile and capabilities
}

// NewBuilder makes a Builder for the machine.
func NewBuilder(m Machine) *Builder {
	return &Builder{machine: m, filters: map[string]filter{}}
}

// Build makes the specification. The second result are warnings for people.
// The specification shares its seccomp part with others: it is not to be
// changed.
func (b *Builder) Build(in Input) (*specs.Spec, []string, error) {
	s := template()
	s.Linux.MaskedPaths = slices.Clone(b.machine.MaskedPaths)
	s.Root.Readonly = in.Host.ReadonlyRootfs
	s.Hostname = in.Hostname
	s.Annotations = maps.Clone(in.Host.Annotations)
	s.Linux.CgroupsPath = in.CgroupsPath
	sec, err := parseSecurity(in.Host.SecurityOpt)
	if err != nil {
		return nil, nil, err
	}
	s.Process = b.process(in, sec)
	rlimits, warnings := b.rlimits(in.Host.Ulimits)
	s.Process.Rlimits = rlimits
	b.sysctls(s, in)
	if err := b.resources(s, in.Host); err != nil {
		return nil, nil, err
	}
	if err := devices(s, in); err != nil {
		return nil, nil, err
	}
	namespaces(s, in)
	if err := mounts(s, in, sec); err != nil {
		return nil, nil, err
	}
	paths(s, in.Host)
	if s.Process.Capabilities, err = capabilities(in.Host, b.machine.Capabilities); err != nil {
		return nil, nil, err
	}
	return s, warnings, b.filter(s, sec, in.Host.Privileged, s.Process.Capabilities.Bounding)
}

// paths applies the overrides of masked and read-only paths.
func paths(s *specs.Spec, h *container.HostConfig) {
	if h.Privileged {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	}
	if h.MaskedPaths != nil {
		s.Linux.MaskedPaths = h.MaskedPaths
	}
	if h.ReadonlyPaths != nil {
		s.Linux.ReadonlyPaths = h.ReadonlyPaths
	}
}

// sysctls sets Docker's two defaults for a network namespace of the
// container's own (ping and low ports without capabilities), then the user's.
func (b *Builder) sysctls(s *specs.Spec, in Input) {
	s.Linux.Sysctl = map[string]string{}
	if in.OwnNet {
		if b.machine.PingGroupRange {
			s.Linux.Sysctl["net.ipv4.ping_group_range"] = "0 " + strconv.FormatInt(lastGroup(in.UserNS), 10)
		}
		if b.machine.UnprivilegedPorts {
			s.Linux.Sysctl["net.ipv4.ip_unprivileged_port_start"] = "0"
		}
	}
	if d := in.Config.Domainname; d != "" && !in.Host.UTSMode.IsHost() {
		s.Linux.Sysctl["kernel.domainname"] = d
	}
	maps.Copy(s.Linux.Sysctl, in.Host.Sysctls)
}

// lastGroup is the last id that the ping sockets' range may end with: the kernel
// knows no groups beyond those of the user namespace.
func lastGroup(u *UserNS) int64 {
	if u == nil {
		return math.MaxInt32
	}
	return u.IDs.GIDMaps[0].Count - 1
}

func namespaces(s *specs.Spec, in Input) {
	drop := func(t specs.LinuxNamespaceType) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
	}
	set := func(t specs.LinuxNamespaceType, path string) {
		drop(t)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: t, Path: path})
	}
	if u := in.UserNS; u != nil {
		set(specs.UserNamespace, u.Path)
		s.Linux.UIDMappings, s.Linux.GIDMappings = userns.Mappings(u.IDs.UIDMaps), userns.Mappings(u.IDs.GIDMaps)
	}
	if in.NetNS == "" {
		drop(specs.NetworkNamespace)
	} else {
		set(specs.NetworkNamespace, in.NetNS)
	}
	if in.Host.IpcMode.IsHost() {
		drop(specs.IPCNamespace)
	}
	if in.Host.PidMode.IsHost() {
		drop(specs.PIDNamespace)
	}
	if in.Host.UTSMode.IsHost() {
		drop(specs.UTSNamespace)
		s.Hostname = ""
	}
	if in.Host.CgroupnsMode.IsPrivate() {
		set(specs.CgroupNamespace, "")
	}
	for _, t := range slices.Sorted(maps.Keys(in.Joined)) {
		set(t, in.Joined[t])
	}
}

func join(words []string) string { return strings.Join(words, ",") }

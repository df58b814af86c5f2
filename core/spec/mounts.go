package spec

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Mount is a bind mount or a tmpfs in a container.
type Mount struct {
	// Source is a path on the host; empty for a tmpfs.
	Source, Destination string
	ReadOnly            bool
	// Propagation of a bind mount; empty: rprivate.
	Propagation mount.Propagation
	// NonRecursive leaves out what is mounted below Source.
	NonRecursive bool
	// ReadOnlyTop leaves what is mounted below Source writable although the
	// mount is read-only.
	ReadOnlyTop bool
	// Options of a tmpfs, in fstab notation.
	Options []string
}

func mounts(s *specs.Spec, in Input, sec security) error {
	user := slices.Clone(in.Mounts)
	for dest, opts := range in.Host.Tmpfs {
		user = append(user, Mount{Destination: path.Clean(dest), Options: splitOptions(opts)})
	}
	// Parents first, as their mount hides what lies below.
	slices.SortStableFunc(user, func(a, b Mount) int {
		return cmp.Or(cmp.Compare(depth(a.Destination), depth(b.Destination)), cmp.Compare(a.Destination, b.Destination))
	})
	s.Mounts = withoutReplaced(s.Mounts, user, in)
	for _, m := range user {
		om, err := convert(s, m)
		if err != nil {
			return err
		}
		s.Mounts = append(s.Mounts, om)
	}
	if in.InitPath != "" {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: InitTarget, Type: "bind", Source: in.InitPath, Options: []string{"bind", "ro"}})
	}
	if s.Root.Readonly {
		readOnly(s.Mounts, user)
	}
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if m.Type == "sysfs" && in.Host.Privileged || m.Type == "cgroup" && (in.Host.Privileged || sec.writableCgroups) {
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "ro" })
		}
	}
	return nil
}

func depth(p string) int { return strings.Count(path.Clean(p), "/") }

// withoutReplaced drops the defaults that the user replaces, all below /dev
// when /dev is the user's, and sizes /dev/shm.
func withoutReplaced(defaults []specs.Mount, user []Mount, in Input) []specs.Mount {
	has := func(dest string) bool {
		return slices.ContainsFunc(user, func(m Mount) bool { return m.Destination == dest })
	}
	out := defaults[:0]
	for _, m := range defaults {
		shm := m.Destination == "/dev/shm"
		if has(m.Destination) || strings.HasPrefix(m.Destination, "/dev/") && has("/dev") || shm && in.Host.IpcMode.IsNone() {
			continue
		}
		if shm {
			m.Options = append(m.Options, "size="+strconv.FormatInt(in.Host.ShmSize, 10))
		}
		out = append(out, m)
	}
	return out
}

func convert(s *specs.Spec, m Mount) (specs.Mount, error) {
	if m.Source == "" {
		opts := mergeTmpfs(append([]string{"noexec", "nosuid", "nodev"}, m.Options...))
		if m.ReadOnly {
			opts = append(opts, "ro")
		}
		return specs.Mount{Destination: m.Destination, Type: "tmpfs", Source: "tmpfs", Options: append(opts, "rprivate")}, nil
	}
	bind := "rbind"
	if m.NonRecursive {
		bind = "bind"
	}
	p := cmp.Or(m.Propagation, mount.PropagationRPrivate)
	if err := propagate(s, m, p); err != nil {
		return specs.Mount{}, err
	}
	opts := []string{bind}
	if m.ReadOnly {
		opts = append(opts, "ro")
		below, err := hasMountsBelow(m)
		if err != nil {
			return specs.Mount{}, err
		}
		if below && !m.NonRecursive && !m.ReadOnlyTop {
			opts = append(opts, "rro") // not every OCI runtime knows it: only where it matters
		}
	}
	return specs.Mount{Destination: m.Destination, Type: "bind", Source: m.Source, Options: append(opts, string(p))}, nil
}

// hasMountsBelow says whether something is mounted below the source.
func hasMountsBelow(m Mount) (bool, error) {
	source, err := filepath.EvalSymlinks(m.Source)
	if err != nil {
		return false, nil //nolint:nilerr // the mount itself will fail and say why
	}
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		below := strings.HasPrefix(i.Mountpoint, strings.TrimRight(source, "/")+"/")
		return !below, below
	})
	if err != nil {
		return false, fmt.Errorf("mount source %s: %w", m.Source, err)
	}
	return len(infos) > 0, nil
}

// propagate makes sure that the container's root hands on what a shared or
// slave mount needs.
func propagate(s *specs.Spec, m Mount, p mount.Propagation) error {
	root := &s.Linux.RootfsPropagation
	switch p {
	case mount.PropagationShared, mount.PropagationRShared:
		if err := checkSource(m.Source, "shared", "shared:"); err != nil {
			return err
		}
		*root = "shared"
	case mount.PropagationSlave, mount.PropagationRSlave:
		if err := checkSource(m.Source, "shared or slave", "shared:", "master:"); err != nil {
			return err
		}
		if *root == "" {
			*root = "rslave"
		}
	case mount.PropagationPrivate, mount.PropagationRPrivate:
	default:
		return fmt.Errorf("mount %s: invalid propagation mode %q: %w", m.Destination, p, errdefs.ErrInvalidArgument)
	}
	return nil
}

// checkSource looks for one of the tags in the optional fields of the mount
// that holds source.
func checkSource(source, what string, tags ...string) error {
	infos, err := mountinfo.GetMounts(mountinfo.ParentsFilter(source))
	if err != nil {
		return fmt.Errorf("mount source %s: %w", source, err)
	}
	if len(infos) == 0 {
		return fmt.Errorf("mount source %s: no mount point found above it: %w", source, errdefs.ErrInvalidArgument)
	}
	holder := slices.MaxFunc(infos, func(a, b *mountinfo.Info) int { return cmp.Compare(len(a.Mountpoint), len(b.Mountpoint)) })
	for _, t := range tags {
		if strings.Contains(" "+holder.Optional, " "+t) {
			return nil
		}
	}
	return fmt.Errorf("path %s is mounted on %s but it is not a %s mount, make it so with mount --make-rshared %s: %w",
		source, holder.Mountpoint, what, holder.Mountpoint, errdefs.ErrInvalidArgument)
}

// readOnly adds "ro" to the default mounts of a container with a read-only
// root, save those that cannot be used so.
func readOnly(all []specs.Mount, user []Mount) {
	for i, m := range all {
		switch m.Destination {
		case "/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev":
			continue
		}
		mine := slices.ContainsFunc(user, func(u Mount) bool { return u.Destination == m.Destination })
		if !mine && !slices.Contains(m.Options, "ro") {
			all[i].Options = append(all[i].Options, "ro")
		}
	}
}

func splitOptions(o string) []string {
	if o == "" {
		return nil
	}
	return strings.Split(o, ",")
}

// mergeTmpfs lets later options win over earlier ones of the same kind.
func mergeTmpfs(opts []string) (out []string) {
	seen := map[string]bool{}
	for _, o := range slices.Backward(opts) {
		kind, _, _ := strings.Cut(o, "=")
		switch kind {
		case "exec", "suid", "dev":
			kind = "no" + kind
		case "rw":
			kind = "ro"
		}
		if !seen[kind] {
			seen[kind] = true
			out = append(out, o)
		}
	}
	slices.Reverse(out)
	return out
}

// CheckTmpfs reports the first unknown option of a --tmpfs.
func CheckTmpfs(dest, opts string) error {
	flags := []string{
		"async", "atime", "defaults", "dev", "diratime", "exec", "noatime", "nodev", "nodiratime", "noexec", "norelatime",
		"nosuid", "relatime", "ro", "rw", "strictatime", "suid", "private", "rprivate", "slave", "rslave", "shared", "rshared",
	}
	values := []string{"mode", "size", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"}
	for _, o := range splitOptions(opts) {
		k, _, isValue := strings.Cut(o, "=")
		if isValue && slices.Contains(values, k) || !isValue && slices.Contains(flags, k) {
			continue
		}
		return fmt.Errorf("tmpfs %s: invalid tmpfs option %q: %w", dest, o, errdefs.ErrInvalidArgument)
	}
	return nil
}

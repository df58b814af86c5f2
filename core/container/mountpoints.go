package container

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/strakehq/strake/core/spec"
)

// mountPoint is a bind mount, a volume or a tmpfs of a container.
type mountPoint struct {
	Type         mount.Type
	Name         string            `json:",omitempty"` // of a volume; empty: to be made up
	Driver       string            `json:",omitempty"`
	DriverOpts   map[string]string `json:",omitempty"`
	Labels       map[string]string `json:",omitempty"`
	Source       string
	Destination  string
	Mode         string
	ReadOnly     bool
	Propagation  mount.Propagation `json:",omitempty"`
	NoCopy       bool              `json:",omitempty"`
	NonRecursive bool              `json:",omitempty"`
	ReadOnlyTop  bool              `json:",omitempty"`
	// CreateSource makes a missing source a directory, as -v does.
	CreateSource bool     `json:",omitempty"`
	Options      []string `json:",omitempty"` // of a tmpfs
	// Given as a Mount of the API rather than a bind string.
	FromMount bool `json:",omitempty"`
}

// api converts for inspect and list.
func (p mountPoint) api() container.MountPoint {
	return container.MountPoint{
		Type: p.Type, Name: p.Name, Source: p.Source, Destination: p.Destination, Driver: p.Driver,
		Mode: p.Mode, RW: !p.ReadOnly, Propagation: p.Propagation,
	}
}

// spec converts for the OCI specification.
func (p mountPoint) spec() spec.Mount {
	m := spec.Mount{
		Source: p.Source, Destination: p.Destination, ReadOnly: p.ReadOnly, Propagation: p.Propagation,
		NonRecursive: p.NonRecursive, ReadOnlyTop: p.ReadOnlyTop, Options: p.Options,
	}
	if p.Type == mount.TypeTmpfs {
		m.Source = ""
	}
	return m
}

// mountPoints works out all mounts of a container. Later kinds do not replace
// earlier ones: two for one destination are refused, except that an image's
// volume gives way to any, and --volumes-from to the container's own.
func (m *Manager) mountPoints(c *container.Config, h *container.HostConfig) ([]mountPoint, error) {
	var out []mountPoint
	add := func(p mountPoint) error {
		if slices.ContainsFunc(out, func(o mountPoint) bool { return o.Destination == p.Destination }) {
			return refuse(errdefs.ErrInvalidArgument, "Duplicate mount point: %s", p.Destination)
		}
		out = append(out, p)
		return nil
	}
	for _, b := range h.Binds {
		p, err := parseBind(b, h.VolumeDriver)
		if err == nil {
			err = add(p)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, mt := range h.Mounts {
		p, err := parseMount(mt)
		if err == nil {
			err = add(p)
		}
		if err != nil {
			return nil, err
		}
	}
	for dest, opts := range h.Tmpfs {
		if err := checkDestination(dest, dest); err != nil {
			return nil, err
		}
		if err := spec.CheckTmpfs(dest, opts); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o mountPoint) bool { return o.Destination == path.Clean(dest) }) {
			return nil, refuse(errdefs.ErrInvalidArgument, "Duplicate mount point: %s", dest)
		}
	}
	return m.inherited(out, c, h)
}

func (m *Manager) inherited(out []mountPoint, c *container.Config, h *container.HostConfig) ([]mountPoint, error) {
	has := func(dest string) bool {
		_, tmpfs := h.Tmpfs[dest]
		return tmpfs || slices.ContainsFunc(out, func(o mountPoint) bool { return o.Destination == dest })
	}
	for _, from := range h.VolumesFrom {
		ref, mode, _ := strings.Cut(from, ":")
		u, err := m.find(ref)
		if err != nil {
			return nil, err
		}
		if mode != "" && mode != "ro" && mode != "rw" && mode != "z" && mode != "Z" {
			return nil, refuse(errdefs.ErrInvalidArgument, "invalid mode for volumes-from: %s", mode)
		}
		for _, p := range u.get().Mounts {
			if !has(p.Destination) {
				p.ReadOnly = p.ReadOnly || mode == "ro"
				out = append(out, p)
			}
		}
	}
	for dest := range c.Volumes {
		if err := checkDestination(dest, dest); err != nil {
			return nil, err
		}
		if dest = path.Clean(dest); !has(dest) {
			out = append(out, mountPoint{Type: mount.TypeVolume, Driver: "local", Destination: dest})
		}
	}
	return out, nil
}

// parseBind reads "source:destination[:options]", or a destination alone for
// an anonymous volume.
func parseBind(raw, driver string) (mountPoint, error) {
	invalid := refuse(errdefs.ErrInvalidArgument, "invalid volume specification: '%s'", raw)
	f := strings.Split(raw, ":")
	if len(f) > 3 || slices.Contains(f[:min(2, len(f))], "") {
		return mountPoint{}, invalid
	}
	if len(f) == 1 {
		f = []string{"", f[0]}
	}
	p := mountPoint{Destination: path.Clean(f[1]), CreateSource: true}
	if err := checkDestination(f[1], raw); err != nil {
		return p, err
	}
	if len(f) == 3 {
		p.Mode = f[2]
		if err := p.parseMode(f[2]); err != nil {
			return p, err
		}
	}
	switch {
	case strings.HasPrefix(f[0], "/"):
		p.Type, p.Source = mount.TypeBind, filepath.Clean(f[0])
		if p.Propagation == "" {
			p.Propagation = mount.PropagationRPrivate
		}
	case strings.ContainsRune(f[0], '/'):
		return p, refuse(errdefs.ErrInvalidArgument,
			"%q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path", f[0])
	default:
		p.Type, p.Name, p.Driver = mount.TypeVolume, f[0], "local"
		if driver != "" {
			p.Driver = driver
		}
		if p.Mode == "" {
			p.Mode = "z"
		}
	}
	return p, nil
}

func (p *mountPoint) parseMode(mode string) error {
	for _, o := range strings.Split(mode, ",") {
		switch {
		case o == "ro":
			p.ReadOnly = true
		case o == "rw", o == "z", o == "Z", o == "consistent", o == "cached", o == "delegated", o == "default":
			// Labels matter where SELinux rules; consistency is always full.
		case o == "nocopy":
			p.NoCopy = true
		case slices.Contains(mount.Propagations, mount.Propagation(o)):
			p.Propagation = mount.Propagation(o)
		default:
			return refuse(errdefs.ErrInvalidArgument, "invalid mode: %s", mode)
		}
	}
	return nil
}

func checkDestination(dest, raw string) error {
	if !path.IsAbs(dest) {
		return refuse(errdefs.ErrInvalidArgument, "invalid volume specification: '%s': invalid mount config: invalid mount path: '%s' mount path must be absolute", raw, dest)
	}
	if path.Clean(dest) == "/" {
		return refuse(errdefs.ErrInvalidArgument, "invalid volume specification: '%s': invalid specification: destination can't be '/'", raw)
	}
	return nil
}

// parseMount reads an entry of HostConfig.Mounts.
func parseMount(mt mount.Mount) (mountPoint, error) {
	bad := func(format string, args ...any) (mountPoint, error) {
		return mountPoint{}, refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: "+format, append([]any{mt.Type}, args...)...)
	}
	p := mountPoint{Type: mt.Type, Destination: path.Clean(mt.Target), ReadOnly: mt.ReadOnly, FromMount: true}
	switch {
	case mt.Target == "":
		return bad("field Target must not be empty")
	case !path.IsAbs(mt.Target):
		return bad("invalid mount path: '%s' mount path must be absolute", mt.Target)
	case p.Destination == "/":
		return bad("invalid specification: destination can't be '/'")
	}
	switch mt.Type {
	case mount.TypeBind:
		return parseBindMount(p, mt)
	case mount.TypeVolume:
		return parseVolumeMount(p, mt)
	case mount.TypeTmpfs:
		return parseTmpfsMount(p, mt)
	case mount.TypeImage, mount.TypeNamedPipe, mount.TypeCluster:
		return p, refuse(errdefs.ErrNotImplemented, "mount type %q is not supported, use bind, volume or tmpfs", mt.Type)
	default:
		return p, refuse(errdefs.ErrInvalidArgument, "mount type %q unknown", mt.Type)
	}
}

func parseBindMount(p mountPoint, mt mount.Mount) (mountPoint, error) {
	if !filepath.IsAbs(mt.Source) {
		return p, refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: invalid mount path: '%s' mount path must be absolute", mt.Type, mt.Source)
	}
	if mt.VolumeOptions != nil || mt.TmpfsOptions != nil || mt.ImageOptions != nil {
		return p, refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: only BindOptions may be given", mt.Type)
	}
	p.Source, p.Propagation = filepath.Clean(mt.Source), mount.PropagationRPrivate
	if o := mt.BindOptions; o != nil {
		if o.Propagation != "" {
			p.Propagation = o.Propagation
		}
		if !slices.Contains(mount.Propagations, p.Propagation) {
			return p, refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: invalid propagation mode: %s", mt.Type, o.Propagation)
		}
		p.NonRecursive, p.CreateSource, p.ReadOnlyTop = o.NonRecursive, o.CreateMountpoint, o.ReadOnlyNonRecursive
		if o.ReadOnlyForceRecursive && (!p.ReadOnly || o.NonRecursive || o.ReadOnlyNonRecursive || o.Propagation != mount.PropagationRPrivate) {
			return p, refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: ReadOnlyForceRecursive needs ReadOnly, a recursive mount and rprivate propagation", mt.Type)
		}
	}
	return p, checkSource(p)
}

// checkSource fails for a bind source that is missing and not to be made.
func checkSource(p mountPoint) error {
	if p.Type != mount.TypeBind || p.CreateSource {
		return nil
	}
	if _, err := os.Stat(p.Source); errors.Is(err, fs.ErrNotExist) {
		return refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: bind source path does not exist: %s", p.Type, p.Source)
	} else if err != nil {
		return refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: %v", p.Type, err)
	}
	return nil
}

func parseVolumeMount(p mountPoint, mt mount.Mount) (mountPoint, error) {
	if mt.BindOptions != nil || mt.TmpfsOptions != nil || mt.ImageOptions != nil {
		return p, refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: only VolumeOptions may be given", mt.Type)
	}
	p.Name, p.Driver, p.Mode = mt.Source, "local", "z"
	if o := mt.VolumeOptions; o != nil {
		if o.Subpath != "" {
			return p, refuse(errdefs.ErrNotImplemented, "mount %s: VolumeOptions.Subpath is not supported", mt.Target)
		}
		p.NoCopy, p.Labels = o.NoCopy, o.Labels
		if o.DriverConfig != nil {
			p.Driver, p.DriverOpts = o.DriverConfig.Name, o.DriverConfig.Options
			if p.Driver == "" {
				p.Driver = "local"
			}
		}
	}
	return p, nil
}

func parseTmpfsMount(p mountPoint, mt mount.Mount) (mountPoint, error) {
	if mt.Source != "" {
		return p, refuse(errdefs.ErrInvalidArgument, "invalid mount config for type %q: field Source must not be specified", mt.Type)
	}
	opts, err := tmpfsOptions(mt.TmpfsOptions)
	if err != nil {
		return p, err
	}
	p.Options = opts
	return p, spec.CheckTmpfs(mt.Target, strings.Join(opts, ","))
}

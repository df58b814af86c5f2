package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func devices(s *specs.Spec, in Input) error {
	h := in.Host
	if h.Privileged {
		s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		all, err := below("/dev", "/dev")
		if err != nil {
			return err
		}
		s.Linux.Devices = append(s.Linux.Devices, all...)
	}
	for _, m := range h.Devices {
		if h.Privileged && m.PathOnHost == m.PathInContainer {
			continue
		}
		list, err := mapped(m)
		if err != nil {
			return err
		}
		if in.UserNS != nil {
			bindDevices(s, m, list)
		} else {
			s.Linux.Devices = append(s.Linux.Devices, list...)
		}
		if !h.Privileged {
			for _, d := range list {
				s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
					Allow: true, Type: d.Type, Major: &d.Major, Minor: &d.Minor, Access: m.CgroupPermissions,
				})
			}
		}
	}
	if h.Privileged {
		return nil
	}
	for _, rule := range h.DeviceCgroupRules {
		r, err := ParseDeviceRule(rule)
		if err != nil {
			return err
		}
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, r)
	}
	return nil
}

// bindDevices binds the host's nodes. In a user namespace nodes cannot be made;
// OCI runtimes bind the host's instead, but those of the container's paths.
func bindDevices(s *specs.Spec, m container.DeviceMapping, list []specs.LinuxDevice) {
	for _, d := range list {
		s.Mounts = append(s.Mounts, specs.Mount{
			Destination: d.Path, Type: "bind", Source: m.PathOnHost + strings.TrimPrefix(d.Path, m.PathInContainer),
			Options: []string{"bind", "nosuid", "noexec", "rprivate"},
		})
	}
}

// mapped lists the devices of one --device: one, or all below a directory.
func mapped(m container.DeviceMapping) ([]specs.LinuxDevice, error) {
	src, err := filepath.EvalSymlinks(m.PathOnHost)
	if err != nil {
		return nil, fmt.Errorf("error gathering device information while adding custom device %q: %w: %w", m.PathOnHost, err, errdefs.ErrInvalidArgument)
	}
	d, ok, err := device(src, m.PathInContainer)
	if err != nil {
		return nil, err
	}
	if ok {
		return []specs.LinuxDevice{d}, nil
	}
	list, err := below(src, m.PathInContainer)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("error gathering device information while adding custom device %q: not a device node: %w", m.PathOnHost, errdefs.ErrInvalidArgument)
	}
	return list, err
}

// below lists the device nodes in a directory, save what a container has of
// its own there.
func below(dir, target string) (out []specs.LinuxDevice, err error) {
	err = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			switch e.Name() {
			case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev":
				return fs.SkipDir
			}
			return nil
		case e.Name() == "console", e.Type()&fs.ModeDevice == 0:
			return nil
		}
		d, ok, err := device(p, target+strings.TrimPrefix(p, dir))
		if ok {
			out = append(out, d)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("devices below %s: %w", dir, err)
	}
	return out, nil
}

func device(path, target string) (d specs.LinuxDevice, ok bool, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return d, false, fmt.Errorf("device %s: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		d.Type = "b"
	case unix.S_IFCHR:
		d.Type = "c"
	default:
		return d, false, nil
	}
	mode := os.FileMode(st.Mode &^ unix.S_IFMT)
	d.Path, d.Major, d.Minor = target, int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	d.FileMode, d.UID, d.GID = &mode, &st.Uid, &st.Gid
	return d, true, nil
}

// ParseDeviceRule reads a --device-cgroup-rule, "c 1:* rwm".
func ParseDeviceRule(rule string) (specs.LinuxDeviceCgroup, error) {
	bad := func() (specs.LinuxDeviceCgroup, error) {
		return specs.LinuxDeviceCgroup{}, fmt.Errorf("invalid device cgroup rule format: %q, want for example \"c 1:* rwm\": %w", rule, errdefs.ErrInvalidArgument)
	}
	f := strings.Fields(rule)
	if len(f) != 3 || f[0] != "a" && f[0] != "b" && f[0] != "c" || strings.Trim(f[2], "rwm") != "" || len(f[2]) > 3 {
		return bad()
	}
	out := specs.LinuxDeviceCgroup{Allow: true, Type: f[0], Access: f[2]}
	major, minor, ok := strings.Cut(f[1], ":")
	if !ok {
		return bad()
	}
	for _, n := range []struct {
		text string
		to   **int64
	}{{major, &out.Major}, {minor, &out.Minor}} {
		if n.text == "*" {
			continue
		}
		v, err := strconv.ParseUint(n.text, 10, 31)
		if err != nil {
			return bad()
		}
		i := int64(v)
		*n.to = &i
	}
	return out, nil
}

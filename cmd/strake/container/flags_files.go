package container

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/pflag"
)

// fileFlags say what a container sees in its file system.
type fileFlags struct {
	volumes, volumesFrom opts.ListOpts
	tmpfs, storageOpts   opts.ListOpts
	devices              opts.ListOpts
	mounts               opts.MountOpt
	volumeDriver         string
	readOnly             bool
	cidFile              string
}

func (v *fileFlags) register(f *pflag.FlagSet) {
	v.volumes, v.volumesFrom = opts.NewListOpts(nil), opts.NewListOpts(nil)
	v.tmpfs, v.storageOpts, v.devices = opts.NewListOpts(nil), opts.NewListOpts(nil), opts.NewListOpts(nil)
	f.VarP(&v.volumes, "volume", "v", "Bind mount a volume")
	f.Var(&v.volumesFrom, "volumes-from", "Mount volumes from the specified container(s)")
	f.StringVar(&v.volumeDriver, "volume-driver", "", "Optional volume driver for the container")
	f.Var(&v.mounts, "mount", "Attach a filesystem mount to the container")
	f.Var(&v.tmpfs, "tmpfs", "Mount a tmpfs directory")
	f.Var(&v.devices, "device", "Add a host device to the container")
	f.Var(&v.storageOpts, "storage-opt", "Storage driver options for the container")
	f.BoolVar(&v.readOnly, "read-only", false, "Mount the container's root filesystem as read only")
	f.StringVar(&v.cidFile, "cidfile", "", "Write the container ID to the file")
}

func (v *fileFlags) apply(_ *pflag.FlagSet, c *client.ContainerCreateOptions) error {
	host := c.HostConfig
	for _, s := range v.volumes.GetSlice() {
		source, _, bind := strings.Cut(s, ":")
		switch {
		case !bind: // an anonymous volume at this path
			if c.Config.Volumes == nil {
				c.Config.Volumes = map[string]struct{}{}
			}
			c.Config.Volumes[s] = struct{}{}
		case strings.HasPrefix(source, "."):
			abs, err := filepath.Abs(source)
			if err != nil {
				return fmt.Errorf("--volume %s: %w", s, err)
			}
			host.Binds = append(host.Binds, abs+strings.TrimPrefix(s, source))
		default:
			host.Binds = append(host.Binds, s)
		}
	}
	for _, t := range v.tmpfs.GetSlice() {
		if host.Tmpfs == nil {
			host.Tmpfs = map[string]string{}
		}
		path, options, _ := strings.Cut(t, ":")
		host.Tmpfs[path] = options
	}
	for _, d := range v.devices.GetSlice() {
		m, err := parseDevice(d)
		if err != nil {
			return err
		}
		host.Devices = append(host.Devices, m)
	}
	for _, o := range v.storageOpts.GetSlice() {
		key, value, ok := strings.Cut(o, "=")
		if !ok {
			return fmt.Errorf("--storage-opt %q: want key=value", o)
		}
		if host.StorageOpt == nil {
			host.StorageOpt = map[string]string{}
		}
		host.StorageOpt[key] = value
	}
	host.Mounts, host.VolumesFrom, host.VolumeDriver = v.mounts.Value(), v.volumesFrom.GetSlice(), v.volumeDriver
	host.ReadonlyRootfs, host.ContainerIDFile = v.readOnly, v.cidFile
	return nil
}

// parseDevice reads host-path[:container-path][:permissions].
func parseDevice(s string) (container.DeviceMapping, error) {
	parts := strings.Split(s, ":")
	m := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[0], CgroupPermissions: "rwm"}
	rest := parts[1:]
	if n := len(rest); n > 0 && isPermissions(rest[n-1]) {
		m.CgroupPermissions, rest = rest[n-1], rest[:n-1]
	}
	if len(rest) == 1 {
		m.PathInContainer, rest = rest[0], nil
	}
	if len(rest) > 0 || !filepath.IsAbs(m.PathInContainer) {
		return m, fmt.Errorf("--device %q: want /host/path[:/container/path][:rwm]", s)
	}
	return m, nil
}

func isPermissions(s string) bool {
	return s != "" && strings.Trim(s, "rwm") == ""
}

package container

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/pflag"
)

// isolationFlags say what keeps a container apart from its host.
type isolationFlags struct {
	capAdd, capDrop  opts.ListOpts
	securityOpts     opts.ListOpts
	deviceRules      opts.ListOpts
	sysctls          *opts.MapOpts
	gpus             opts.GpuOpts
	privileged       bool
	ipc, pid, uts    string
	userns, cgroupns string
	isolation        string
}

func (i *isolationFlags) register(f *pflag.FlagSet) {
	i.capAdd, i.capDrop, i.securityOpts, i.deviceRules = opts.NewListOpts(nil), opts.NewListOpts(nil), opts.NewListOpts(nil), opts.NewListOpts(nil)
	i.sysctls = opts.NewMapOpts(nil, opts.ValidateSysctl)
	f.Var(&i.capAdd, "cap-add", "Add Linux capabilities")
	f.Var(&i.capDrop, "cap-drop", "Drop Linux capabilities")
	f.Var(&i.securityOpts, "security-opt", "Security Options")
	f.Var(&i.deviceRules, "device-cgroup-rule", "Add a rule to the cgroup allowed devices list")
	f.Var(i.sysctls, "sysctl", "Sysctl options")
	f.Var(&i.gpus, "gpus", "GPU devices to add to the container ('all' to pass all GPUs)")
	f.BoolVar(&i.privileged, "privileged", false, "Give extended privileges to this container")
	f.StringVar(&i.ipc, "ipc", "", "IPC mode to use")
	f.StringVar(&i.pid, "pid", "", "PID namespace to use")
	f.StringVar(&i.uts, "uts", "", "UTS namespace to use")
	f.StringVar(&i.userns, "userns", "", "User namespace to use")
	f.StringVar(&i.cgroupns, "cgroupns", "", "Cgroup namespace to use (host|private)")
	f.StringVar(&i.isolation, "isolation", "", "Container isolation technology")
}

func (i *isolationFlags) apply(_ *pflag.FlagSet, c *client.ContainerCreateOptions) (err error) {
	host := c.HostConfig
	host.PidMode, host.UTSMode, host.IpcMode = container.PidMode(i.pid), container.UTSMode(i.uts), container.IpcMode(i.ipc)
	host.UsernsMode, host.CgroupnsMode = container.UsernsMode(i.userns), container.CgroupnsMode(i.cgroupns)
	for flag, mode := range map[string]interface{ Valid() bool }{
		"--pid": host.PidMode, "--uts": host.UTSMode, "--ipc": host.IpcMode, "--userns": host.UsernsMode, "--cgroupns": host.CgroupnsMode,
	} {
		if !mode.Valid() {
			return fmt.Errorf("%s %q: invalid mode", flag, mode)
		}
	}
	host.CapAdd, host.CapDrop, host.Privileged = i.capAdd.GetSlice(), i.capDrop.GetSlice(), i.privileged
	host.Sysctls, host.DeviceRequests = i.sysctls.GetAll(), i.gpus.Value()
	host.DeviceCgroupRules, host.Isolation = i.deviceRules.GetSlice(), container.Isolation(i.isolation)
	return i.applySecurity(host)
}

// applySecurity reads seccomp profiles, which the daemon takes by content, and
// translates systempaths=unconfined.
func (i *isolationFlags) applySecurity(host *container.HostConfig) error {
	for _, o := range i.securityOpts.GetSlice() {
		key, value, ok := strings.Cut(o, "=")
		if !ok && key != "no-new-privileges" {
			key, value, ok = strings.Cut(o, ":")
		}
		switch {
		case !ok && key != "no-new-privileges":
			return fmt.Errorf("--security-opt %q: want name=value or no-new-privileges", o)
		case o == "systempaths=unconfined":
			host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
			continue
		case key == "seccomp" && value != "unconfined" && value != "builtin":
			profile, err := os.ReadFile(value)
			if err != nil {
				return fmt.Errorf("--security-opt seccomp: %w", err)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, profile); err != nil {
				return fmt.Errorf("--security-opt seccomp=%s: not JSON: %w", value, err)
			}
			o = "seccomp=" + compact.String()
		}
		host.SecurityOpt = append(host.SecurityOpt, o)
	}
	return nil
}

package container

import (
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/sys/signal"

	"github.com/strakehq/strake/core/spec"
)

func invalid(format string, args ...any) error {
	return refuse(errdefs.ErrInvalidArgument, format, args...)
}

// validateConfig checks the portable half of a request.
func validateConfig(c *container.Config) error {
	for _, e := range c.Env {
		if e == "" || strings.HasPrefix(e, "=") {
			return invalid("invalid environment variable: %s", e)
		}
	}
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		return invalid("the working directory '%s' is invalid, it needs to be an absolute path", c.WorkingDir)
	}
	if c.StopSignal != "" {
		if _, err := signal.ParseSignal(c.StopSignal); err != nil {
			return invalid("%v", err)
		}
	}
	if len(c.Hostname) > 63 {
		return invalid("invalid hostname %q: longer than 63 characters", c.Hostname)
	}
	if c.StdinOnce && !c.OpenStdin {
		return invalid("StdinOnce needs OpenStdin")
	}
	return validateHealth(c.Healthcheck)
}

func validateHealth(h *container.HealthConfig) error {
	if h == nil {
		return nil
	}
	for _, d := range []struct {
		name string
		v    int64
	}{{"Interval", int64(h.Interval)}, {"Timeout", int64(h.Timeout)}, {"StartPeriod", int64(h.StartPeriod)}, {"StartInterval", int64(h.StartInterval)}} {
		if d.v != 0 && d.v < int64(container.MinimumDuration) {
			return invalid("%s in Healthcheck cannot be less than %s", d.name, container.MinimumDuration)
		}
	}
	if h.Retries < 0 {
		return invalid("Retries in Healthcheck cannot be negative")
	}
	if len(h.Test) > 0 && !slices.Contains([]string{"NONE", "CMD", "CMD-SHELL"}, h.Test[0]) {
		return invalid("unknown healthcheck type %q, want NONE, CMD or CMD-SHELL", h.Test[0])
	}
	return nil
}

// validateHost checks the half of a request that depends on the host.
func (m *Manager) validateHost(h *container.HostConfig) error {
	if err := validateUnsupported(h); err != nil {
		return err
	}
	if err := container.ValidateRestartPolicy(h.RestartPolicy); err != nil {
		return classed(errdefs.ErrInvalidArgument, err)
	}
	if h.AutoRemove && !h.RestartPolicy.IsNone() {
		return invalid("can't create 'AutoRemove' container with restart policy")
	}
	if h.ShmSize < 0 {
		return invalid("SHM size can not be less than 0")
	}
	if h.OomScoreAdj < -1000 || h.OomScoreAdj > 1000 {
		return invalid("Invalid value %d, range for oom score adj is [-1000, 1000]", h.OomScoreAdj)
	}
	if _, err := spec.NormalizeCapabilities(slices.Concat(h.CapAdd, h.CapDrop)); err != nil {
		return err
	}
	if err := m.machine.CheckSecurity(h.SecurityOpt); err != nil {
		return err
	}
	for _, r := range h.DeviceCgroupRules {
		if _, err := spec.ParseDeviceRule(r); err != nil {
			return err
		}
	}
	for _, d := range h.Devices {
		if strings.Trim(d.CgroupPermissions, "rwm") != "" {
			return invalid("invalid device mode %q of %s: use r, w and m", d.CgroupPermissions, d.PathOnHost)
		}
	}
	for _, f := range []func(*container.HostConfig) error{validateModes, validateHosts, validatePorts, validateUlimits, m.validateLog} {
		if err := f(h); err != nil {
			return err
		}
	}
	if h.Init != nil && *h.Init {
		if _, err := m.initProgram(); err != nil {
			return err
		}
	}
	if err := m.validateRemapped(h); err != nil {
		return err
	}
	return m.validateResources(&h.Resources)
}

// validateUnsupported refuses by name what would otherwise be ignored.
func validateUnsupported(h *container.HostConfig) error {
	for name, set := range map[string]bool{
		"Links (use a user-defined network)":    len(h.Links) > 0,
		"Cgroup":                                h.Cgroup != "",
		"CpuCount (Windows)":                    h.CPUCount != 0,
		"CpuPercent (Windows)":                  h.CPUPercent != 0,
		"IOMaximumIOps (Windows)":               h.IOMaximumIOps != 0,
		"IOMaximumBandwidth (Windows)":          h.IOMaximumBandwidth != 0,
		"Isolation (Windows)":                   !h.Isolation.IsDefault(),
		"CpuRealtimePeriod":                     h.CPURealtimePeriod != 0,
		"CpuRealtimeRuntime":                    h.CPURealtimeRuntime != 0,
		"UsernsMode (only \"host\" is allowed)": !h.UsernsMode.IsHost() && h.UsernsMode != "",
	} {
		if set {
			return invalid("HostConfig.%s is not supported", name)
		}
	}
	for _, r := range h.DeviceRequests {
		return invalid("could not select device driver %q with capabilities: %v", r.Driver, r.Capabilities)
	}
	for k := range h.StorageOpt {
		if k != "size" {
			return invalid("unknown storage option %q, only size is known", k)
		}
	}
	return nil
}

func validateModes(h *container.HostConfig) error {
	switch {
	case !h.IpcMode.Valid():
		return invalid("invalid IPC mode: %v", h.IpcMode)
	case !h.PidMode.Valid():
		return invalid("invalid PID mode: %v", h.PidMode)
	case !h.UTSMode.Valid():
		return invalid("invalid UTS mode: %v", h.UTSMode)
	case !h.CgroupnsMode.Valid():
		return invalid("invalid cgroup namespace mode: %v", h.CgroupnsMode)
	case h.NetworkMode.IsContainer() && h.NetworkMode.ConnectedContainer() == "":
		return invalid("invalid container format container:<name|id>")
	case h.NetworkMode.IsContainer() && (len(h.PortBindings) > 0 || h.PublishAllPorts):
		return invalid("conflicting options: port publishing and the container type network mode")
	case h.NetworkMode.IsContainer() && len(h.DNS) > 0:
		return invalid("conflicting options: dns and the network mode")
	case h.NetworkMode.IsContainer() && len(h.ExtraHosts) > 0:
		return invalid("conflicting options: custom host-to-IP mapping and the network mode")
	}
	return nil
}

func validateHosts(h *container.HostConfig) error {
	for _, e := range h.ExtraHosts {
		name, ip, ok := strings.Cut(e, ":")
		if !ok {
			name, ip, ok = strings.Cut(e, "=")
		}
		if !ok || name == "" {
			return invalid("bad format for add-host: %q", e)
		}
		if _, err := netip.ParseAddr(strings.Trim(ip, "[]")); err != nil && ip != hostGateway {
			return invalid("invalid IP address in add-host: %q", ip)
		}
	}
	return nil
}

func validatePorts(h *container.HostConfig) error {
	for port, bindings := range h.PortBindings {
		if port.Num() == 0 {
			return invalid("invalid port specification: %q", port)
		}
		for _, b := range bindings {
			first, last, isRange := strings.Cut(b.HostPort, "-")
			for _, p := range []string{first, last} {
				if p == "" && (!isRange || b.HostPort == "") {
					continue
				}
				if _, err := strconv.ParseUint(p, 10, 16); err != nil {
					return invalid("invalid port specification: %q", b.HostPort)
				}
			}
		}
	}
	return nil
}

func validateUlimits(h *container.HostConfig) error {
	for _, u := range h.Ulimits {
		if u.Soft > u.Hard && u.Hard != -1 {
			return invalid("ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
		}
		if _, err := u.GetRlimit(); err != nil {
			return invalid("ulimit: %v", err)
		}
	}
	return nil
}

// The log drivers.
const (
	logDriver = "json-file"
	logNone   = "none"
)

func (m *Manager) validateLog(h *container.HostConfig) error {
	switch h.LogConfig.Type {
	case logDriver:
	case logNone:
		return nil
	default:
		return invalid("logger: no log driver named '%s' is registered, use json-file or none", h.LogConfig.Type)
	}
	for _, k := range slices.Sorted(maps.Keys(h.LogConfig.Config)) {
		if !slices.Contains([]string{"max-size", "max-file", "labels", "env", "tag", "mode", "max-buffer-size"}, k) {
			return invalid("unknown log opt '%s' for json-file log driver", k)
		}
	}
	if _, err := logOf(h.LogConfig); err != nil {
		return err
	}
	if mode := h.LogConfig.Config["mode"]; mode != "" && mode != string(container.LogModeBlocking) {
		return invalid("log opt mode=%s is not supported, use blocking", mode)
	}
	return nil
}

package container

import (
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// merge fills in what the image says where the request is silent, by Docker's
// rules. Neither argument is changed.
func merge(request, image *container.Config) (*container.Config, error) {
	c := *request
	c.Env = mergeEnv(request.Env, image.Env)
	c.Labels = mergeMaps(image.Labels, request.Labels)
	c.ExposedPorts = mergeMaps(image.ExposedPorts, request.ExposedPorts)
	c.Volumes = mergeMaps(image.Volumes, request.Volumes)
	if c.User == "" {
		c.User = image.User
	}
	if c.WorkingDir == "" {
		c.WorkingDir = image.WorkingDir
	}
	if c.StopSignal == "" {
		c.StopSignal = image.StopSignal
	}
	if len(c.Shell) == 0 {
		c.Shell = image.Shell
	}
	c.Healthcheck = mergeHealth(request.Healthcheck, image.Healthcheck)
	// An entrypoint of the request's own also drops the image's command; an
	// empty string in it drops the image's entrypoint.
	if len(c.Entrypoint) == 0 {
		if len(c.Cmd) == 0 {
			c.Cmd = image.Cmd
		}
		if c.Entrypoint == nil {
			c.Entrypoint = image.Entrypoint
		}
	}
	if len(c.Entrypoint) == 1 && c.Entrypoint[0] == "" {
		c.Entrypoint = nil
	}
	if len(c.Entrypoint) == 0 && len(c.Cmd) == 0 {
		return nil, refuse(errdefs.ErrInvalidArgument, "no command specified")
	}
	return &c, nil
}

// command splits into program and arguments.
func command(c *container.Config) (path string, args []string) {
	all := slices.Concat(c.Entrypoint, c.Cmd)
	return all[0], all[1:]
}

// mergeEnv adds the image's variables that the request does not set.
func mergeEnv(request, image []string) []string {
	out := slices.Clone(request)
	for _, e := range image {
		name, _, _ := strings.Cut(e, "=")
		if !slices.ContainsFunc(request, func(r string) bool { k, _, _ := strings.Cut(r, "="); return k == name }) {
			out = append(out, e)
		}
	}
	return out
}

// mergeMaps lets over win. The result is nil when both are empty.
func mergeMaps[M ~map[K]V, K comparable, V any](base, over M) M {
	if len(base)+len(over) == 0 {
		return over
	}
	out := M{}
	maps.Copy(out, base)
	maps.Copy(out, over)
	return out
}

func mergeHealth(request, image *container.HealthConfig) *container.HealthConfig {
	if request == nil || image == nil {
		if request == nil {
			return image
		}
		return request
	}
	h := *request
	if len(h.Test) == 0 {
		h.Test = image.Test
	}
	if h.Interval == 0 {
		h.Interval = image.Interval
	}
	if h.Timeout == 0 {
		h.Timeout = image.Timeout
	}
	if h.StartPeriod == 0 {
		h.StartPeriod = image.StartPeriod
	}
	if h.StartInterval == 0 {
		h.StartInterval = image.StartInterval
	}
	if h.Retries == 0 {
		h.Retries = image.Retries
	}
	return &h
}

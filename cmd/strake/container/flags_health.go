package container

import (
	"errors"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/pflag"
)

// healthFlags say how a container's health is checked.
type healthFlags struct {
	cmd                        string
	interval, timeout          time.Duration
	startPeriod, startInterval time.Duration
	retries                    int
	none                       bool
}

func (h *healthFlags) register(f *pflag.FlagSet) {
	f.StringVar(&h.cmd, "health-cmd", "", "Command to run to check health")
	f.DurationVar(&h.interval, "health-interval", 0, "Time between running the check (ms|s|m|h)")
	f.DurationVar(&h.timeout, "health-timeout", 0, "Maximum time to allow one check to run (ms|s|m|h)")
	f.DurationVar(&h.startPeriod, "health-start-period", 0, "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)")
	f.DurationVar(&h.startInterval, "health-start-interval", 0, "Time between running the check during the start period (ms|s|m|h)")
	f.IntVar(&h.retries, "health-retries", 0, "Consecutive failures needed to report unhealthy")
	f.BoolVar(&h.none, "no-healthcheck", false, "Disable any container-specified HEALTHCHECK")
}

func (h *healthFlags) apply(_ *pflag.FlagSet, c *client.ContainerCreateOptions) error {
	set := *h
	set.none = false
	switch {
	case h.none && set != (healthFlags{}):
		return errors.New("--no-healthcheck conflicts with --health-* options")
	case h.none:
		c.Config.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
	case set != (healthFlags{}):
		c.Config.Healthcheck = &container.HealthConfig{
			Interval: h.interval, Timeout: h.timeout, Retries: h.retries,
			StartPeriod: h.startPeriod, StartInterval: h.startInterval,
		}
		if h.cmd != "" {
			c.Config.Healthcheck.Test = []string{"CMD-SHELL", h.cmd}
		}
	}
	return nil
}

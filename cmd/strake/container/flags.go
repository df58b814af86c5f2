// Package container has the verbs on containers, one file each, and the flags
// that describe a container to be made.
package container

import (
	"errors"
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/spf13/pflag"
)

// group is a set of flags about one side of a container. Its register method
// declares them, its apply method moves their values into a request.
type group interface {
	register(f *pflag.FlagSet)
	apply(f *pflag.FlagSet, c *client.ContainerCreateOptions) error
}

// spec is all that the flags of run and create say about a container.
type spec struct {
	process   processFlags
	limits    limitFlags
	files     fileFlags
	network   networkFlags
	isolation isolationFlags
	health    healthFlags
}

func (s *spec) groups() []group {
	return []group{&s.process, &s.limits, &s.files, &s.network, &s.isolation, &s.health}
}

func (s *spec) register(f *pflag.FlagSet) {
	for _, g := range s.groups() {
		g.register(f)
	}
}

// request turns the flags and the arguments IMAGE [COMMAND] [ARG...] into a
// create request. Errors name the flag and what it takes.
func (s *spec) request(f *pflag.FlagSet, args []string) (client.ContainerCreateOptions, error) {
	c := client.ContainerCreateOptions{
		Config:           &container.Config{Image: args[0], Cmd: args[1:]},
		HostConfig:       &container.HostConfig{},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}},
	}
	for _, g := range s.groups() {
		if err := g.apply(f, &c); err != nil {
			return c, err
		}
	}
	if c.HostConfig.AutoRemove && !c.HostConfig.RestartPolicy.IsNone() {
		return c, errors.New("conflicting options: cannot specify both --restart and --rm")
	}
	return c, nil
}

// processFlags say what runs and how it is known.
type processFlags struct {
	env, envFile       opts.ListOpts
	labels, labelFile  opts.ListOpts
	attach             opts.ListOpts
	groupAdd           opts.ListOpts
	annotations        *opts.MapOpts
	entrypoint         string
	hostname, domain   string
	user, workdir      string
	stopSignal         string
	stopTimeout        int
	restart            string
	interactive, tty   bool
	autoRemove, init   bool
	runtime, logDriver string
	logOpts            opts.ListOpts
}

func (p *processFlags) register(f *pflag.FlagSet) {
	p.env, p.envFile = opts.NewListOpts(opts.ValidateEnv), opts.NewListOpts(nil)
	p.labels, p.labelFile = opts.NewListOpts(opts.ValidateLabel), opts.NewListOpts(nil)
	p.attach, p.groupAdd, p.logOpts = opts.NewListOpts(streamName), opts.NewListOpts(nil), opts.NewListOpts(nil)
	p.annotations = opts.NewMapOpts(nil, nil)
	f.VarP(&p.env, "env", "e", "Set environment variables")
	f.Var(&p.envFile, "env-file", "Read in a file of environment variables")
	f.VarP(&p.labels, "label", "l", "Set meta data on a container")
	f.Var(&p.labelFile, "label-file", "Read in a line delimited file of labels")
	f.VarP(&p.attach, "attach", "a", "Attach to STDIN, STDOUT or STDERR")
	f.Var(&p.groupAdd, "group-add", "Add additional groups to join")
	f.Var(p.annotations, "annotation", "Add an annotation to the container (passed through to the OCI runtime)")
	f.StringVar(&p.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	f.StringVarP(&p.hostname, "hostname", "h", "", "Container host name")
	f.StringVar(&p.domain, "domainname", "", "Container NIS domain name")
	f.StringVarP(&p.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	f.StringVarP(&p.workdir, "workdir", "w", "", "Working directory inside the container")
	f.StringVar(&p.stopSignal, "stop-signal", "", "Signal to stop the container")
	f.IntVar(&p.stopTimeout, "stop-timeout", 0, "Timeout (in seconds) to stop a container")
	f.StringVar(&p.restart, "restart", "no", "Restart policy: no, on-failure[:max-retries], always, unless-stopped")
	f.BoolVarP(&p.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVarP(&p.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.BoolVar(&p.autoRemove, "rm", false, "Remove the container and its anonymous volumes when it exits")
	f.BoolVar(&p.init, "init", false, "Run an init inside the container that forwards signals and reaps processes")
	f.StringVar(&p.runtime, "runtime", "", "Runtime to use for this container")
	f.StringVar(&p.logDriver, "log-driver", "", "Logging driver for the container")
	f.Var(&p.logOpts, "log-opt", "Log driver options")
}

func streamName(s string) (string, error) {
	switch s {
	case "stdin", "STDIN":
		return "stdin", nil
	case "stdout", "STDOUT":
		return "stdout", nil
	case "stderr", "STDERR":
		return "stderr", nil
	}
	return "", fmt.Errorf("%q: valid streams are STDIN, STDOUT and STDERR", s)
}

func (p *processFlags) apply(f *pflag.FlagSet, c *client.ContainerCreateOptions) error {
	env, err := opts.ReadKVEnvStrings(p.envFile.GetSlice(), p.env.GetSlice())
	if err != nil {
		return fmt.Errorf("--env-file: %w", err)
	}
	labels, err := opts.ReadKVStrings(p.labelFile.GetSlice(), p.labels.GetSlice())
	if err != nil {
		return fmt.Errorf("--label-file: %w", err)
	}
	restart, err := opts.ParseRestartPolicy(p.restart)
	if err != nil {
		return fmt.Errorf("--restart: %w", err)
	}
	cfg, host := c.Config, c.HostConfig
	cfg.Env, cfg.Labels = env, opts.ConvertKVStringsToMap(labels)
	cfg.Hostname, cfg.Domainname, cfg.User, cfg.WorkingDir = p.hostname, p.domain, p.user, p.workdir
	cfg.Tty, cfg.OpenStdin, cfg.StopSignal = p.tty, p.interactive, p.stopSignal
	p.applyStreams(cfg)
	if f.Changed("stop-timeout") {
		cfg.StopTimeout = &p.stopTimeout
	}
	if f.Changed("entrypoint") {
		cfg.Entrypoint = []string{p.entrypoint} // [""] resets the image's
	}
	host.RestartPolicy, host.AutoRemove, host.Runtime = restart, p.autoRemove, p.runtime
	host.GroupAdd, host.Annotations = p.groupAdd.GetSlice(), p.annotations.GetAll()
	host.LogConfig = container.LogConfig{Type: p.logDriver, Config: opts.ConvertKVStringsToMap(p.logOpts.GetSlice())}
	if f.Changed("init") {
		host.Init = &p.init
	}
	return nil
}

// applyStreams attaches what -a names or, without -a, output and, with -i,
// input.
func (p *processFlags) applyStreams(cfg *container.Config) {
	none := p.attach.Len() == 0
	cfg.AttachStdin = p.interactive || p.attach.Get("stdin")
	cfg.AttachStdout = none || p.attach.Get("stdout")
	cfg.AttachStderr = none || p.attach.Get("stderr")
	cfg.StdinOnce = cfg.OpenStdin && cfg.AttachStdin
}

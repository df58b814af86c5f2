package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/terminal"
	"github.com/strakehq/strake/cmd/strake/tracing"
)

// createFlags are the flags that create and run share beside the container's
// own.
type createFlags struct {
	spec     spec
	name     string
	platform string
	pull     string
	quiet    bool
}

func (c *createFlags) register(f *pflag.FlagSet) {
	c.spec.register(f)
	f.StringVar(&c.name, "name", "", "Assign a name to the container")
	f.StringVar(&c.platform, "platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "Set platform if server is multi-platform capable")
	f.StringVar(&c.pull, "pull", "missing", `Pull image before creating ("always", "missing", "never")`)
	f.BoolVarP(&c.quiet, "quiet", "q", false, "Suppress the pull output")
	f.SetInterspersed(false) // flags after IMAGE belong to the command
}

// runOptions are the flags of run alone.
type runOptions struct {
	create     createFlags
	detach     bool
	sigProxy   bool
	detachKeys string
	trace      bool
}

// NewRun is the command run.
func NewRun(a *app.App) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:               "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create and run a new container from an image",
		ValidArgsFunction: a.CompleteImages(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return daemonError(o.run(cmd.Context(), a, cmd.Flags(), args))
		},
	}
	f := cmd.Flags()
	o.create.register(f)
	f.BoolVarP(&o.detach, "detach", "d", false, "Run container in background and print container ID")
	f.BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy received signals to the process")
	f.StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.BoolVar(&o.trace, "trace", os.Getenv("STRAKE_TRACE") != "", "Show the steps of the request and the time each took (also by STRAKE_TRACE=1)")
	return cmd
}

func (o *runOptions) run(ctx context.Context, a *app.App, f *pflag.FlagSet, args []string) (err error) {
	if o.trace {
		// The trace is shown when the container runs or has failed to.
		show := tracing.Begin(a)
		defer func() { err = errors.Join(err, show(context.WithoutCancel(ctx))) }()
	}
	req, err := o.create.spec.request(f, args)
	if err != nil {
		return app.StatusError{Code: 125, Err: fmt.Errorf("%w\n\nRun 'strake run --help' for more information", err)}
	}
	cfg := req.Config
	if o.detach {
		if o.create.spec.process.attach.Len() > 0 {
			return app.StatusError{Code: 125, Err: errors.New("conflicting options: cannot specify both --attach and --detach")}
		}
		cfg.AttachStdin, cfg.AttachStdout, cfg.AttachStderr, cfg.StdinOnce = false, false, false, false
	} else if cfg.Tty && cfg.AttachStdin && !terminal.IsTerminal(a.In) {
		return errors.New("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
	}
	if h, w := terminal.Size(a.Out); cfg.Tty {
		req.HostConfig.ConsoleSize = [2]uint{h, w}
	}
	id, err := o.create.create(ctx, a, req)
	if err != nil {
		return err
	}
	c, err := a.Client()
	if err != nil {
		return err
	}
	if o.detach {
		if _, err := c.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
			return startError(err)
		}
		_, err = fmt.Fprintln(a.Out, id)
		return err
	}
	s := &session{app: a, tty: cfg.Tty, stdin: cfg.AttachStdin, stdout: cfg.AttachStdout, stderr: cfg.AttachStderr, detachKeys: o.detachKeys}
	return s.foreground(ctx, c, id, foreground{start: true, autoRemove: req.HostConfig.AutoRemove, sigProxy: o.sigProxy})
}

// create makes the container, pulling the image as --pull says, and prints
// warnings.
func (c *createFlags) create(ctx context.Context, a *app.App, req client.ContainerCreateOptions) (string, error) {
	cli, err := a.Client()
	if err != nil {
		return "", err
	}
	if c.platform != "" {
		p, err := platforms.Parse(c.platform)
		if err != nil {
			return "", fmt.Errorf("--platform: %w", err)
		}
		req.Platform = &p
	}
	cid, err := newCIDFile(req.HostConfig.ContainerIDFile)
	if err != nil {
		return "", err
	}
	req.Name = c.name
	switch c.pull {
	case "always":
		if err := c.pullImage(ctx, a, req.Config.Image); err != nil {
			return "", err
		}
	case "missing", "never":
	default:
		return "", fmt.Errorf("--pull %q: want always, missing or never", c.pull)
	}
	res, err := cli.ContainerCreate(ctx, req)
	if errdefs.IsNotFound(err) && c.pull == "missing" && strings.Contains(err.Error(), "No such image") {
		if !c.quiet {
			fmt.Fprintf(a.Err, "Unable to find image '%s' locally\n", familiar(req.Config.Image)) //nolint:errcheck // progress only
		}
		if err := c.pullImage(ctx, a, req.Config.Image); err != nil {
			return "", err
		}
		res, err = cli.ContainerCreate(ctx, req)
	}
	if err != nil {
		return "", err
	}
	for _, w := range res.Warnings {
		fmt.Fprintln(a.Err, "WARNING:", w) //nolint:errcheck // the container is made all the same
	}
	return res.ID, cid.write(res.ID)
}

// foreground says what is special about a foreground session.
type foreground struct {
	start      bool
	autoRemove bool
	sigProxy   bool
}

// foreground attaches to a container, starts it if asked to, and lives until it
// ends. The exit code becomes the CLI's own.
func (s *session) foreground(ctx context.Context, c *client.Client, id string, o foreground) error {
	condition := container.WaitConditionNextExit
	switch {
	case o.autoRemove:
		condition = container.WaitConditionRemoved
	case !o.start:
		condition = container.WaitConditionNotRunning
	}
	wait := c.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: condition})
	streaming := make(chan error, 1)
	if s.stdin || s.stdout || s.stderr {
		res, err := c.ContainerAttach(ctx, id, client.ContainerAttachOptions{
			Stream: true, Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr, DetachKeys: s.detachKeys,
		})
		if err != nil {
			return err
		}
		defer res.Close()
		s.conn = res.HijackedResponse
		go func() { streaming <- s.stream(ctx) }()
	} else {
		streaming <- nil
	}
	started := make(chan error, 1)
	if o.start {
		go func() {
			_, err := c.ContainerStart(ctx, id, client.ContainerStartOptions{})
			if err != nil {
				err = startError(err)
			}
			started <- err
		}()
	} else {
		started <- nil
	}
	if o.sigProxy && !s.tty {
		proxySignals(context.WithoutCancel(ctx), c, id) // takes a while, in which the daemon works
	}
	if err := <-started; err != nil {
		return err
	}
	if s.tty {
		defer terminal.WatchSize(s.app.Out, func(h, w uint) {
			// A container that has ended has no terminal to resize.
			c.ContainerResize(ctx, id, client.ContainerResizeOptions{Height: h, Width: w}) //nolint:errcheck // as above
		})()
	}
	if err := <-streaming; errors.Is(err, errDetached) {
		return nil
	} else if err != nil {
		return err
	}
	select {
	case res := <-wait.Result:
		if res.Error != nil {
			return app.StatusError{Code: 125, Err: errors.New(res.Error.Message)}
		}
		if res.StatusCode != 0 {
			return app.StatusError{Code: int(res.StatusCode)}
		}
		return nil
	case err := <-wait.Error:
		return err
	}
}

// daemonError gives errors that are not a container's own exit the code 125.
func daemonError(err error) error {
	if err == nil || errors.As(err, new(app.StatusError)) {
		return err
	}
	return app.StatusError{Code: 125, Err: err}
}

// startError finds the exit code of a command that could not be started: 127
// when it does not exist, 126 when it cannot be executed, else 125.
func startError(err error) error {
	text := err.Error()
	code := 125
	switch {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"),
		strings.Contains(text, "system cannot find the file specified"):
		code = 127
	case strings.Contains(text, "permission denied"), strings.Contains(text, "is a directory"), strings.Contains(text, "not a directory"), strings.Contains(text, "exec format error"):
		code = 126
	}
	return app.StatusError{Code: code, Err: err}
}

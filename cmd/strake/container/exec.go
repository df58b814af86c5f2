package container

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/terminal"
)

type execOptions struct {
	detach, interactive, tty, privileged bool
	user, workdir, detachKeys            string
	env, envFile                         opts.ListOpts
}

// NewExec is the command exec.
func NewExec(a *app.App) *cobra.Command {
	o := execOptions{env: opts.NewListOpts(opts.ValidateEnv), envFile: opts.NewListOpts(nil)}
	cmd := &cobra.Command{
		Use:               "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short:             "Execute a command in a running container",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), a, args[0], args[1:])
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.detach, "detach", "d", false, "Detached mode: run command in the background")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVarP(&o.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.BoolVar(&o.privileged, "privileged", false, "Give extended privileges to the command")
	f.StringVarP(&o.user, "user", "u", "", `Username or UID (format: "<name|uid>[:<group|gid>]")`)
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working directory inside the container")
	f.StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.VarP(&o.env, "env", "e", "Set environment variables")
	f.Var(&o.envFile, "env-file", "Read in a file of environment variables")
	return cmd
}

func (o *execOptions) run(ctx context.Context, a *app.App, name string, command []string) error {
	env, err := opts.ReadKVEnvStrings(o.envFile.GetSlice(), o.env.GetSlice())
	if err != nil {
		return fmt.Errorf("--env-file: %w", err)
	}
	if o.tty && o.interactive && !o.detach && !terminal.IsTerminal(os.Stdin) {
		return errors.New("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
	}
	c, err := a.Client()
	if err != nil {
		return err
	}
	req := client.ExecCreateOptions{
		User: o.user, Privileged: o.privileged, TTY: o.tty, Env: env, WorkingDir: o.workdir, Cmd: command, DetachKeys: o.detachKeys,
		AttachStdin: o.interactive && !o.detach, AttachStdout: !o.detach, AttachStderr: !o.detach,
	}
	if o.tty {
		req.ConsoleSize.Height, req.ConsoleSize.Width = terminal.Size(a.Out)
	}
	created, err := c.ExecCreate(ctx, name, req)
	if err != nil {
		return err
	}
	if o.detach {
		_, err := c.ExecStart(ctx, created.ID, client.ExecStartOptions{Detach: true, TTY: o.tty, ConsoleSize: req.ConsoleSize})
		return startedOr(err)
	}
	return o.attached(ctx, a, c, created.ID, req)
}

func (o *execOptions) attached(ctx context.Context, a *app.App, c *client.Client, id string, req client.ExecCreateOptions) error {
	res, err := c.ExecAttach(ctx, id, client.ExecAttachOptions{TTY: o.tty, ConsoleSize: req.ConsoleSize})
	if err != nil {
		return startedOr(err)
	}
	defer res.Close()
	s := &session{app: a, conn: res.HijackedResponse, tty: o.tty, stdin: req.AttachStdin, stdout: true, stderr: true, detachKeys: o.detachKeys}
	if o.tty {
		defer terminal.WatchSize(a.Out, func(h, w uint) {
			// A process that has ended has no terminal to resize.
			c.ExecResize(ctx, id, client.ExecResizeOptions{Height: h, Width: w}) //nolint:errcheck // as above
		})()
	}
	if err := s.stream(ctx); errors.Is(err, errDetached) {
		return nil
	} else if err != nil {
		return err
	}
	info, err := c.ExecInspect(ctx, id, client.ExecInspectOptions{})
	if err != nil {
		return err
	}
	if info.ExitCode != 0 {
		return app.StatusError{Code: info.ExitCode}
	}
	return nil
}

// startedOr gives the failure to start a command its exit code.
func startedOr(err error) error {
	if err == nil {
		return nil
	}
	return startError(err)
}

package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewStart is the command start.
func NewStart(a *app.App) *cobra.Command {
	var attach, interactive bool
	var detachKeys string
	cmd := &cobra.Command{
		Use:               "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Start one or more stopped containers",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !attach && !interactive {
				return a.Each(cmd.Context(), args, func(ctx context.Context, c *client.Client, id string) error {
					_, err := c.ContainerStart(ctx, id, client.ContainerStartOptions{})
					return err
				})
			}
			if len(args) > 1 {
				return errors.New("you cannot start and attach multiple containers at once")
			}
			return attachTo(cmd.Context(), a, args[0], attachOptions{stdin: interactive, start: true, sigProxy: true, detachKeys: detachKeys})
		},
	}
	cmd.Flags().BoolVarP(&attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "Attach container's STDIN")
	cmd.Flags().StringVar(&detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	return cmd
}

// NewAttach is the command attach.
func NewAttach(a *app.App) *cobra.Command {
	var noStdin bool
	o := attachOptions{}
	cmd := &cobra.Command{
		Use:               "attach [OPTIONS] CONTAINER",
		Short:             "Attach local standard input, output, and error streams to a running container",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.stdin = !noStdin
			return attachTo(cmd.Context(), a, args[0], o)
		},
	}
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "Do not attach STDIN")
	cmd.Flags().BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy all received signals to the process")
	cmd.Flags().StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	return cmd
}

type attachOptions struct {
	stdin      bool
	start      bool
	sigProxy   bool
	detachKeys string
}

func attachTo(ctx context.Context, a *app.App, name string, o attachOptions) error {
	c, err := a.Client()
	if err != nil {
		return err
	}
	res, err := c.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	ctr := res.Container
	if !o.start {
		switch {
		case !ctr.State.Running:
			return fmt.Errorf("cannot attach to stopped container %s, start it first: strake start -a %s", name, name)
		case ctr.State.Paused:
			return fmt.Errorf("cannot attach to paused container %s, unpause it first: strake unpause %s", name, name)
		}
	}
	s := &session{app: a, tty: ctr.Config.Tty, stdin: o.stdin && ctr.Config.OpenStdin, stdout: true, stderr: true, detachKeys: o.detachKeys}
	return s.foreground(ctx, c, ctr.ID, foreground{start: o.start, sigProxy: o.sigProxy, autoRemove: ctr.HostConfig.AutoRemove})
}

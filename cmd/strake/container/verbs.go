package container

import (
	"context"
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// verb makes a command that does one thing to each container that its
// arguments name.
func verb(a *app.App, name, short string, do func(ctx context.Context, c *client.Client, id string) error) *cobra.Command {
	return &cobra.Command{
		Use:               name + " [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             short,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.CompleteContainers(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Each(cmd.Context(), args, do)
		},
	}
}

// NewStop is the command stop.
func NewStop(a *app.App) *cobra.Command {
	var o stopFlags
	cmd := verb(a, "stop", "Stop one or more running containers", func(ctx context.Context, c *client.Client, id string) error {
		_, err := c.ContainerStop(ctx, id, client.ContainerStopOptions{Signal: o.signal, Timeout: o.timeout()})
		return err
	})
	o.register(cmd)
	return cmd
}

// NewRestart is the command restart.
func NewRestart(a *app.App) *cobra.Command {
	var o stopFlags
	cmd := verb(a, "restart", "Restart one or more containers", func(ctx context.Context, c *client.Client, id string) error {
		_, err := c.ContainerRestart(ctx, id, client.ContainerRestartOptions{Signal: o.signal, Timeout: o.timeout()})
		return err
	})
	o.register(cmd)
	return cmd
}

type stopFlags struct {
	signal  string
	seconds int
	cmd     *cobra.Command
}

func (s *stopFlags) register(cmd *cobra.Command) {
	s.cmd = cmd
	cmd.Flags().StringVarP(&s.signal, "signal", "s", "", "Signal to send to the container")
	cmd.Flags().IntVarP(&s.seconds, "timeout", "t", 0, "Seconds to wait before killing the container")
	cmd.Flags().IntVar(&s.seconds, "time", 0, "Seconds to wait before killing the container")
	cmd.Flags().Lookup("time").Hidden = true
}

func (s *stopFlags) timeout() *int {
	if s.cmd.Flags().Changed("timeout") || s.cmd.Flags().Changed("time") {
		return &s.seconds
	}
	return nil
}

// NewKill is the command kill.
func NewKill(a *app.App) *cobra.Command {
	var signal string
	cmd := verb(a, "kill", "Kill one or more running containers", func(ctx context.Context, c *client.Client, id string) error {
		_, err := c.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal})
		return err
	})
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	return cmd
}

// NewPause is the command pause.
func NewPause(a *app.App) *cobra.Command {
	return verb(a, "pause", "Pause all processes within one or more containers", func(ctx context.Context, c *client.Client, id string) error {
		_, err := c.ContainerPause(ctx, id, client.ContainerPauseOptions{})
		return err
	})
}

// NewUnpause is the command unpause.
func NewUnpause(a *app.App) *cobra.Command {
	return verb(a, "unpause", "Unpause all processes within one or more containers", func(ctx context.Context, c *client.Client, id string) error {
		_, err := c.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
		return err
	})
}

// NewRemove is the command rm.
func NewRemove(a *app.App) *cobra.Command {
	var o client.ContainerRemoveOptions
	cmd := verb(a, "rm", "Remove one or more containers", func(ctx context.Context, c *client.Client, id string) error {
		_, err := c.ContainerRemove(ctx, id, o)
		return err
	})
	cmd.Flags().BoolVarP(&o.Force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	cmd.Flags().BoolVarP(&o.RemoveVolumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	cmd.Flags().BoolVarP(&o.RemoveLinks, "link", "l", false, "Remove the specified link")
	return cmd
}

// NewWait is the command wait.
func NewWait(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "wait CONTAINER [CONTAINER...]",
		Short:             "Block until one or more containers stop, then print their exit codes",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.EachQuiet(cmd.Context(), args, func(ctx context.Context, c *client.Client, id string) error {
				w := c.ContainerWait(ctx, id, client.ContainerWaitOptions{})
				select {
				case res := <-w.Result:
					_, err := fmt.Fprintln(a.Out, res.StatusCode)
					return err
				case err := <-w.Error:
					return err
				}
			})
		},
	}
}

// NewRename is the command rename.
func NewRename(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "rename CONTAINER NEW_NAME",
		Short:             "Rename a container",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			_, err = c.ContainerRename(cmd.Context(), args[0], client.ContainerRenameOptions{NewName: args[1]})
			return err
		},
	}
}

// NewUpdate is the command update.
func NewUpdate(a *app.App) *cobra.Command {
	var l limitFlags
	var restart string
	cmd := verb(a, "update", "Update configuration of one or more containers", nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req := client.ContainerCreateOptions{HostConfig: &container.HostConfig{}}
		if err := l.apply(cmd.Flags(), &req); err != nil {
			return err
		}
		o := client.ContainerUpdateOptions{Resources: &req.HostConfig.Resources}
		if restart != "" {
			policy, err := opts.ParseRestartPolicy(restart)
			if err != nil {
				return fmt.Errorf("--restart: %w", err)
			}
			o.RestartPolicy = &policy
		}
		return a.Each(cmd.Context(), args, func(ctx context.Context, c *client.Client, id string) error {
			res, err := c.ContainerUpdate(ctx, id, o)
			for _, w := range res.Warnings {
				fmt.Fprintln(a.Err, "WARNING:", w) //nolint:errcheck // the update is done all the same
			}
			return err
		})
	}
	l.register(cmd.Flags())
	cmd.Flags().StringVar(&restart, "restart", "", "Restart policy to apply when a container exits")
	return cmd
}

// NewPrune is the command container prune.
func NewPrune(a *app.App) *cobra.Command {
	var filter opts.FilterOpt
	var force bool
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all stopped containers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.Confirm(force, "This will remove all stopped containers."); err != nil {
				return err
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.ContainerPrune(cmd.Context(), client.ContainerPruneOptions{Filters: filter.Value()})
			if err != nil {
				return err
			}
			return a.Pruned("Containers", res.Report.ContainersDeleted, res.Report.SpaceReclaimed)
		},
	}
	filter = opts.NewFilterOpt()
	cmd.Flags().Var(&filter, "filter", `Provide filter values (e.g. "until=<timestamp>")`)
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	return cmd
}

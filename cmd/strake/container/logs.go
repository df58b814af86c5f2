package container

import (
	"context"
	"errors"
	"io"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/core/api/stdcopy"
)

// NewLogs is the command logs.
func NewLogs(a *app.App) *cobra.Command {
	o := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true}
	cmd := &cobra.Command{
		Use:               "logs [OPTIONS] CONTAINER",
		Short:             "Fetch the logs of a container",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printLogs(cmd.Context(), a, args[0], o)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "Follow log output")
	f.StringVar(&o.Since, "since", "", `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	f.StringVar(&o.Until, "until", "", `Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	f.BoolVarP(&o.Timestamps, "timestamps", "t", false, "Show timestamps")
	f.BoolVar(&o.Details, "details", false, "Show extra details provided to logs")
	f.StringVarP(&o.Tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	return cmd
}

func printLogs(ctx context.Context, a *app.App, name string, o client.ContainerLogsOptions) (err error) {
	c, err := a.Client()
	if err != nil {
		return err
	}
	res, err := c.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	logs, err := c.ContainerLogs(ctx, res.Container.ID, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	if res.Container.Config.Tty {
		_, err = io.Copy(a.Out, logs)
	} else {
		err = stdcopy.Copy(a.Out, a.Err, logs)
	}
	return err
}

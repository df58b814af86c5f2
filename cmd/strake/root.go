package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/container"
	"github.com/strakehq/strake/cmd/strake/image"
	"github.com/strakehq/strake/sdk/version"
)

// newRoot assembles all commands.
func newRoot(a *app.App) *cobra.Command {
	root := &cobra.Command{
		Use:           "strake [OPTIONS] COMMAND [ARG...]",
		Short:         "A container engine in which every driver is a plugin",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Version,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command: strake %s\n\nRun 'strake --help' for more information", args[0])
			}
			return cmd.Help()
		},
	}
	root.PersistentFlags().Bool("help", false, "Print usage") // without -h, which is --hostname's
	root.SetFlagErrorFunc(flagError)
	a.GlobalFlags(root)
	top := []func(*app.App) *cobra.Command{
		container.NewRun, container.NewExec, container.NewList, container.NewCreate, container.NewStart, container.NewStop,
		container.NewRestart, container.NewKill, container.NewPause, container.NewUnpause, container.NewWait, container.NewRemove,
		container.NewRename, container.NewUpdate, container.NewLogs, container.NewAttach, container.NewTop, container.NewPort,
		image.NewPull,
	}
	for _, n := range top {
		root.AddCommand(n(a))
	}
	return root
}

// flagError names the command whose flag was wrong; docker run answers it with
// 125, and so do we.
func flagError(cmd *cobra.Command, err error) error {
	return app.StatusError{Code: 125, Err: fmt.Errorf("%w\n\nRun '%s --help' for more information", err, cmd.CommandPath())}
}

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/config"
	"github.com/strakehq/strake/cmd/strake/container"
	"github.com/strakehq/strake/cmd/strake/driver"
	"github.com/strakehq/strake/cmd/strake/image"
	"github.com/strakehq/strake/cmd/strake/network"
	"github.com/strakehq/strake/cmd/strake/system"
	"github.com/strakehq/strake/cmd/strake/volume"
	"github.com/strakehq/strake/sdk/version"
)

// constructor makes a command.
type constructor func(*app.App) *cobra.Command

// newRoot assembles all commands: the verbs that people type every day at the
// top, and all verbs again under the noun that they are about.
func newRoot(a *app.App) *cobra.Command {
	root := &cobra.Command{
		Use:                        "strake [OPTIONS] COMMAND [ARG...]",
		Short:                      "A container engine in which every driver is a plugin",
		SilenceUsage:               true,
		TraverseChildren:           true,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		Version:                    version.Version,
		Args:                       unknownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().Bool("help", false, "Print usage") // without -h, which is --hostname's
	root.SetFlagErrorFunc(flagError)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	a.GlobalFlags(root)
	containers := []constructor{
		container.NewRun, container.NewExec, container.NewList, container.NewCreate, container.NewStart, container.NewStop,
		container.NewRestart, container.NewKill, container.NewPause, container.NewUnpause, container.NewWait, container.NewRemove,
		container.NewRename, container.NewUpdate, container.NewLogs, container.NewAttach, container.NewTop, container.NewPort, container.NewStats,
	}
	images := []constructor{image.NewPull, image.NewPush, image.NewList, image.NewTag, image.NewRemove, image.NewHistory, image.NewLoad, image.NewSave}
	systems := []constructor{system.NewVersion, system.NewInfo, system.NewEvents, system.NewInspect, system.NewLogin, system.NewLogout}
	for _, list := range [][]constructor{containers, images, systems} {
		add(a, root, list...)
	}
	root.AddCommand(
		noun(a, "container", "Manage containers", append(containers, container.NewInspect, container.NewPrune)...),
		noun(a, "image", "Manage images", append(images, image.NewInspect, image.NewPrune)...),
		noun(a, "system", "Manage Strake", system.NewInfo, system.NewEvents),
		volume.New(a), network.New(a), driver.New(a), config.New(a),
	)
	return root
}

func add(a *app.App, cmd *cobra.Command, list ...constructor) {
	for _, n := range list {
		cmd.AddCommand(n(a))
	}
}

// noun makes a command that groups verbs. Verbs whose top-level name holds the
// noun already (images, ps, rmi) go by their first alias there.
func noun(a *app.App, name, short string, list ...constructor) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: unknownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	add(a, cmd, list...)
	for _, verb := range cmd.Commands() {
		if len(verb.Aliases) > 0 {
			old := verb.Name()
			verb.Use = verb.Aliases[0] + strings.TrimPrefix(verb.Use, old)
			verb.Aliases = append(verb.Aliases[1:], old)
		}
	}
	return cmd
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = fmt.Sprintf(", did you mean %s?", s[0])
	}
	return fmt.Errorf("unknown command: %s %s%s\n\nRun '%s --help' for more information", cmd.CommandPath(), args[0], hint, cmd.CommandPath())
}

// flagError names the command whose flag was wrong, with Docker's exit code.
func flagError(cmd *cobra.Command, err error) error {
	return app.StatusError{Code: 125, Err: fmt.Errorf("%w\n\nRun '%s --help' for more information", err, cmd.CommandPath())}
}

package main

import (
	"fmt"
	"maps"
	"slices"
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

// newRoot assembles the commands that args may mean: of a verb or noun that
// stands first that one alone, for making all of them costs more time than many
// a verb itself; else, as for help and completion, all.
func newRoot(a *app.App, args []string) *cobra.Command {
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
	root.SetArgs(args)
	a.GlobalFlags(root)
	all := commands()
	names := slices.Sorted(maps.Keys(all))
	if len(args) > 0 && all[args[0]] != nil {
		names = args[:1]
	}
	for _, name := range names {
		cmd := all[name](a)
		cmd.Aliases = nil // below a noun; rm would be two commands here
		root.AddCommand(cmd)
	}
	return root
}

// commands are those at the top, by name: the verbs that people type every day,
// and nouns with all verbs again that are about them.
func commands() map[string]constructor {
	containers := map[string]constructor{
		"run": container.NewRun, "exec": container.NewExec, "ps": container.NewList, "create": container.NewCreate,
		"start": container.NewStart, "stop": container.NewStop, "restart": container.NewRestart, "kill": container.NewKill,
		"pause": container.NewPause, "unpause": container.NewUnpause, "wait": container.NewWait, "rm": container.NewRemove,
		"rename": container.NewRename, "update": container.NewUpdate, "logs": container.NewLogs, "attach": container.NewAttach,
		"top": container.NewTop, "port": container.NewPort, "stats": container.NewStats,
	}
	images := map[string]constructor{
		"pull": image.NewPull, "push": image.NewPush, "images": image.NewList, "tag": image.NewTag, "rmi": image.NewRemove,
		"history": image.NewHistory, "load": image.NewLoad, "save": image.NewSave,
	}
	all := map[string]constructor{
		"version": system.NewVersion, "info": system.NewInfo, "events": system.NewEvents, "inspect": system.NewInspect,
		"login": system.NewLogin, "logout": system.NewLogout,
		"container": noun("container", "Manage containers", containers, container.NewInspect, container.NewPrune),
		"image":     noun("image", "Manage images", images, image.NewInspect, image.NewPrune),
		"system":    noun("system", "Manage Strake", nil, system.NewInfo, system.NewEvents),
		"volume":    volume.New, "network": network.New, "driver": driver.New, "config": config.New,
	}
	maps.Copy(all, containers)
	maps.Copy(all, images)
	return all
}

// noun makes a command that groups verbs, those of the top level and others.
// Verbs whose top-level name holds the noun already (images, ps, rmi) go by
// their first alias there.
func noun(name, short string, verbs map[string]constructor, others ...constructor) constructor {
	return func(a *app.App) *cobra.Command {
		cmd := &cobra.Command{Use: name, Short: short, Args: unknownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
		for _, n := range slices.AppendSeq(others, maps.Values(verbs)) {
			cmd.AddCommand(n(a))
		}
		for _, verb := range cmd.Commands() {
			if len(verb.Aliases) > 0 {
				old := verb.Name()
				verb.Use = verb.Aliases[0] + strings.TrimPrefix(verb.Use, old)
				verb.Aliases = append(verb.Aliases[1:], old)
			}
		}
		return cmd
	}
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

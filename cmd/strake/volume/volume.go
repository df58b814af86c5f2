// Package volume has the verbs on volumes.
package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/opts"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// New is the command volume.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{Use: "volume", Short: "Manage volumes"}
	cmd.AddCommand(newCreate(a), newList(a), newInspect(a), newRemove(a), newPrune(a))
	return cmd
}

func newCreate(a *app.App) *cobra.Command {
	var o client.VolumeCreateOptions
	driverOpts, labels := opts.NewMapOpts(nil, nil), opts.NewListOpts(opts.ValidateLabel)
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [VOLUME]",
		Short: "Create a volume",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if o.Name != "" && o.Name != args[0] {
					return errors.New("conflicting options: cannot specify a volume name through both --name and as a positional arg")
				}
				o.Name = args[0]
			}
			o.DriverOpts, o.Labels = driverOpts.GetAll(), opts.ConvertKVStringsToMap(labels.GetSlice())
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.VolumeCreate(cmd.Context(), o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Out, res.Volume.Name)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Driver, "driver", "d", "local", "Specify volume driver name")
	f.StringVar(&o.Name, "name", "", "Specify volume name")
	f.Lookup("name").Hidden = true
	f.VarP(driverOpts, "opt", "o", "Set driver specific options")
	f.Var(&labels, "label", "Set metadata for a volume")
	return cmd
}

func newList(a *app.App) *cobra.Command {
	var quiet bool
	var format string
	filter := opts.NewFilterOpt()
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List volumes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.VolumeList(cmd.Context(), client.VolumeListOptions{Filters: filter.Value()})
			if err != nil {
				return err
			}
			return formatter.VolumeWrite(formatter.Context{Output: a.Out, Format: formatter.NewVolumeFormat(app.Format(format), quiet)}, res.Items)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display volume names")
	cmd.Flags().StringVar(&format, "format", "", app.FormatHelp)
	cmd.Flags().VarP(&filter, "filter", "f", `Provide filter values (e.g. "dangling=true")`)
	return cmd
}

func newInspect(a *app.App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] VOLUME [VOLUME...]",
		Short:             "Display detailed information on one or more volumes",
		ValidArgsFunction: a.CompleteVolumes(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			return a.Inspect(args, format, func(ref string) (any, []byte, error) {
				res, err := c.VolumeInspect(cmd.Context(), ref, client.VolumeInspectOptions{})
				return res.Volume, res.Raw, err
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	return cmd
}

func newRemove(a *app.App) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm [OPTIONS] VOLUME [VOLUME...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more volumes",
		ValidArgsFunction: a.CompleteVolumes(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Each(cmd.Context(), args, func(ctx context.Context, c *client.Client, name string) error {
				_, err := c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{Force: force})
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the removal of one or more volumes")
	return cmd
}

func newPrune(a *app.App) *cobra.Command {
	var all, force bool
	filter := opts.NewFilterOpt()
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused local volumes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			what := "This will remove anonymous local volumes not used by at least one container."
			if all {
				what = "This will remove all local volumes not used by at least one container."
			}
			if err := a.Confirm(force, what); err != nil {
				return err
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.VolumePrune(cmd.Context(), client.VolumePruneOptions{All: all, Filters: filter.Value()})
			if err != nil {
				return err
			}
			return a.Pruned("Volumes", res.Report.VolumesDeleted, res.Report.SpaceReclaimed)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused volumes, not just anonymous ones")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	cmd.Flags().Var(&filter, "filter", `Provide filter values (e.g. "label=<label>")`)
	return cmd
}

package container

import (
	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/opts"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewList is the command ps.
func NewList(a *app.App) *cobra.Command {
	var o client.ContainerListOptions
	var quiet, noTrunc, latest bool
	var format string
	filter := opts.NewFilterOpt()
	cmd := &cobra.Command{
		Use:     "ps [OPTIONS]",
		Aliases: []string{"ls", "list"},
		Short:   "List containers",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			o.Filters = filter.Value()
			if latest {
				o.Limit = 1
			}
			res, err := c.ContainerList(cmd.Context(), o)
			if err != nil {
				return err
			}
			return formatter.ContainerWrite(formatter.Context{
				Output: a.Out, Trunc: !noTrunc, Format: formatter.NewContainerFormat(app.Format(format), quiet, o.Size),
			}, res.Items)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.All, "all", "a", false, "Show all containers (default shows just running)")
	f.BoolVarP(&quiet, "quiet", "q", false, "Only display container IDs")
	f.BoolVarP(&o.Size, "size", "s", false, "Display total file sizes")
	f.BoolVar(&noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVarP(&latest, "latest", "l", false, "Show the latest created container (includes all states)")
	f.IntVarP(&o.Limit, "last", "n", -1, "Show n last created containers (includes all states)")
	f.StringVar(&format, "format", "", app.FormatHelp)
	f.VarP(&filter, "filter", "f", "Filter output based on conditions provided")
	return cmd
}

package image

import (
	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/opts"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewList is the command images.
func NewList(a *app.App) *cobra.Command {
	var o client.ImageListOptions
	var quiet, noTrunc, digests bool
	var format string
	filter := opts.NewFilterOpt()
	cmd := &cobra.Command{
		Use:     "images [OPTIONS] [REPOSITORY[:TAG]]",
		Aliases: []string{"ls", "list"},
		Short:   "List images",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			o.Filters = filter.Value()
			if len(args) == 1 {
				o.Filters = o.Filters.Clone().Add("reference", args[0])
			}
			res, err := c.ImageList(cmd.Context(), o)
			if err != nil {
				return err
			}
			return formatter.ImageWrite(formatter.ImageContext{
				Context: formatter.Context{Output: a.Out, Trunc: !noTrunc, Format: formatter.NewImageFormat(app.Format(format), quiet, digests)},
				Digest:  digests,
			}, res.Items)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.All, "all", "a", false, "Show all images (default hides intermediate images)")
	f.BoolVarP(&quiet, "quiet", "q", false, "Only show image IDs")
	f.BoolVar(&noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVar(&digests, "digests", false, "Show digests")
	f.StringVar(&format, "format", "", app.FormatHelp)
	f.VarP(&filter, "filter", "f", "Filter output based on conditions provided")
	return cmd
}

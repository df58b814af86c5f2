package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewTag is the command tag.
func NewTag(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short:             "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		ValidArgsFunction: a.CompleteImages(),
		Args:              cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			_, err = c.ImageTag(cmd.Context(), client.ImageTagOptions{Source: args[0], Target: args[1]})
			return err
		},
	}
}

// NewRemove is the command rmi.
func NewRemove(a *app.App) *cobra.Command {
	var force, noPrune bool
	cmd := &cobra.Command{
		Use:               "rmi [OPTIONS] IMAGE [IMAGE...]",
		Aliases:           []string{"rm"},
		Short:             "Remove one or more images",
		ValidArgsFunction: a.CompleteImages(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.EachQuiet(cmd.Context(), args, func(ctx context.Context, c *client.Client, ref string) error {
				res, err := c.ImageRemove(ctx, ref, client.ImageRemoveOptions{Force: force, PruneChildren: !noPrune})
				if err != nil {
					return err
				}
				for _, r := range res.Items {
					if r.Untagged != "" {
						_, err = fmt.Fprintln(a.Out, "Untagged:", r.Untagged)
					}
					if r.Deleted != "" {
						_, err = fmt.Fprintln(a.Out, "Deleted:", r.Deleted)
					}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force removal of the image")
	cmd.Flags().BoolVar(&noPrune, "no-prune", false, "Do not delete untagged parents")
	return cmd
}

// NewInspect is the command image inspect.
func NewInspect(a *app.App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Display detailed information on one or more images",
		ValidArgsFunction: a.CompleteImages(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			return a.Inspect(args, format, func(ref string) (any, []byte, error) {
				var raw bytes.Buffer
				res, err := c.ImageInspect(cmd.Context(), ref, client.ImageInspectWithRawResponse(&raw))
				return res.InspectResponse, raw.Bytes(), err
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	return cmd
}

// NewPrune is the command image prune.
func NewPrune(a *app.App) *cobra.Command {
	var all, force bool
	filter := opts.NewFilterOpt()
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused images",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			what := "This will remove all dangling images."
			if all {
				what = "This will remove all images without at least one container associated to them."
			}
			if err := a.Confirm(force, what); err != nil {
				return err
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			filters := filter.Value().Clone()
			if all {
				filters = filters.Add("dangling", "false")
			}
			res, err := c.ImagePrune(cmd.Context(), client.ImagePruneOptions{Filters: filters})
			if err != nil {
				return err
			}
			var names []string
			for _, d := range res.Report.ImagesDeleted {
				if d.Untagged != "" {
					names = append(names, "untagged: "+d.Untagged)
				} else {
					names = append(names, "deleted: "+d.Deleted)
				}
			}
			return a.Pruned("Images", names, res.Report.SpaceReclaimed)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused images, not just dangling ones")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	cmd.Flags().Var(&filter, "filter", `Provide filter values (e.g. "until=<timestamp>")`)
	return cmd
}

// errNoTerminal refuses to write an archive to a terminal.
var errNoTerminal = errors.New("cowardly refusing to save to a terminal, use the -o flag or redirect")

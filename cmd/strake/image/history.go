package image

import (
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewHistory is the command history.
func NewHistory(a *app.App) *cobra.Command {
	var human, noTrunc, quiet bool
	var format string
	cmd := &cobra.Command{
		Use:               "history [OPTIONS] IMAGE",
		Short:             "Show the history of an image",
		ValidArgsFunction: a.CompleteImages(),
		Args:              cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.ImageHistory(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			rows := make([]historyRow, 0, len(res.Items))
			for _, i := range res.Items {
				rows = append(rows, newHistoryRow(i, human, !noTrunc))
			}
			return app.Table(a.Out, format, quiet, historyTable, rows)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&human, "human", "H", true, "Print sizes and dates in human readable format")
	f.BoolVar(&noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVarP(&quiet, "quiet", "q", false, "Only show image IDs")
	f.StringVar(&format, "format", "", app.FormatHelp)
	return cmd
}

type historyRow struct {
	ID, CreatedSince, CreatedAt, CreatedBy, Size, Comment string
}

const historyTable = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"

func newHistoryRow(i image.HistoryResponseItem, human, trunc bool) historyRow {
	created := time.Unix(i.Created, 0)
	r := historyRow{
		ID: i.ID, CreatedAt: created.Format(time.RFC3339), CreatedBy: strings.ReplaceAll(i.CreatedBy, "\t", " "),
		Comment: i.Comment, Size: fmt.Sprint(i.Size),
	}
	r.CreatedSince = r.CreatedAt
	if human {
		r.CreatedSince = units.HumanDuration(time.Since(created)) + " ago"
		r.Size = units.HumanSizeWithPrecision(float64(i.Size), 3)
	}
	if trunc {
		r.ID = strings.TrimPrefix(r.ID, "sha256:")
		r.ID = r.ID[:min(len(r.ID), 12)]
		if len(r.CreatedBy) > 45 {
			r.CreatedBy = r.CreatedBy[:44] + "…"
		}
	}
	return r
}

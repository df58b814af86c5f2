package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

type statsOptions struct {
	all, noStream, noTrunc bool
	format                 string
}

// NewStats is the command stats.
func NewStats(a *app.App) *cobra.Command {
	var o statsOptions
	cmd := &cobra.Command{
		Use:               "stats [OPTIONS] [CONTAINER...]",
		Short:             "Display a live stream of container(s) resource usage statistics",
		ValidArgsFunction: a.CompleteContainers(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			for {
				rows, err := o.read(cmd.Context(), a, args)
				if err != nil {
					return err
				}
				if !o.noStream && o.format == "" {
					if _, err := io.WriteString(a.Out, "\x1b[H\x1b[J"); err != nil {
						return err
					}
				}
				if err := app.Table(a.Out, o.format, false, statsTable, rows); err != nil || o.noStream {
					return err
				}
			}
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	f.BoolVar(&o.noStream, "no-stream", false, "Disable streaming stats and only pull the first result")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	f.StringVar(&o.format, "format", "", app.FormatHelp)
	return cmd
}

type statsRow struct {
	Container, ID, Name, CPUPerc, MemUsage, MemPerc, NetIO, BlockIO, PIDs string
}

const statsTable = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"

// read takes one reading of each container, all at once: each reading takes the
// daemon a second.
func (o *statsOptions) read(ctx context.Context, a *app.App, names []string) ([]statsRow, error) {
	c, err := a.Client()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		list, err := c.ContainerList(ctx, client.ContainerListOptions{All: o.all})
		if err != nil {
			return nil, err
		}
		for _, s := range list.Items {
			names = append(names, s.ID)
		}
		if len(names) == 0 && !o.noStream {
			time.Sleep(time.Second) // nothing to read, so nothing else paces the loop
		}
	}
	rows, errs := make([]statsRow, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() { rows[i], errs[i] = o.one(ctx, c, n) })
	}
	wg.Wait()
	return slices.DeleteFunc(rows, func(r statsRow) bool { return r.ID == "" }), errors.Join(errs...)
}

func (o *statsOptions) one(ctx context.Context, c *client.Client, name string) (statsRow, error) {
	res, err := c.ContainerStats(ctx, name, client.ContainerStatsOptions{IncludePreviousSample: true})
	if err != nil {
		return statsRow{}, err
	}
	var s container.StatsResponse
	err = json.NewDecoder(res.Body).Decode(&s)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return statsRow{}, fmt.Errorf("stats of %s: %w", name, err)
	}
	r := newStatsRow(s)
	r.Container = name
	if !o.noTrunc {
		r.ID = r.ID[:min(len(r.ID), 12)]
	}
	return r, nil
}

func newStatsRow(s container.StatsResponse) statsRow {
	used, limit := memory(s.MemoryStats), float64(s.MemoryStats.Limit)
	var rx, tx, read, written float64
	for _, n := range s.Networks {
		rx, tx = rx+float64(n.RxBytes), tx+float64(n.TxBytes)
	}
	for _, e := range s.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(e.Op) {
		case "read":
			read += float64(e.Value)
		case "write":
			written += float64(e.Value)
		}
	}
	return statsRow{
		ID: s.ID, Name: strings.TrimPrefix(s.Name, "/"), CPUPerc: percent(cpu(s)), PIDs: fmt.Sprint(s.PidsStats.Current),
		MemUsage: units.BytesSize(used) + " / " + units.BytesSize(limit), MemPerc: percent(ratio(used, limit)),
		NetIO:   units.HumanSizeWithPrecision(rx, 3) + " / " + units.HumanSizeWithPrecision(tx, 3),
		BlockIO: units.HumanSizeWithPrecision(read, 3) + " / " + units.HumanSizeWithPrecision(written, 3),
	}
}

// memory leaves the page cache out that the kernel can drop at any time.
func memory(m container.MemoryStats) float64 {
	for _, key := range []string{"total_inactive_file", "inactive_file"} {
		if v, ok := m.Stats[key]; ok && v < m.Usage {
			return float64(m.Usage - v)
		}
	}
	return float64(m.Usage)
}

// cpu is the share of one processor since the reading before.
func cpu(s container.StatsResponse) float64 {
	used := float64(s.CPUStats.CPUUsage.TotalUsage) - float64(s.PreCPUStats.CPUUsage.TotalUsage)
	system := float64(s.CPUStats.SystemUsage) - float64(s.PreCPUStats.SystemUsage)
	return ratio(used, system) * float64(s.CPUStats.OnlineCPUs)
}

func ratio(part, whole float64) float64 {
	if part <= 0 || whole <= 0 {
		return 0
	}
	return part / whole
}

func percent(f float64) string { return fmt.Sprintf("%.2f%%", 100*f) }

// Package driver has the verbs on drivers, which are Strake's own.
package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/core/api/drivers"
)

// New is the command driver.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{Use: "driver", Short: "Manage drivers"}
	cmd.AddCommand(newList(a), newInspect(a), newRestart(a))
	return cmd
}

type row struct{ Name, Kind, Version, Status, Pid, Restarts, Up, Path, Reason string }

const listTable = "{{.Kind}}\t{{.Name}}\t{{.Version}}\t{{.Status}}\t{{.Pid}}\t{{.Restarts}}\t{{.Path}}"

func newList(a *app.App) *cobra.Command {
	var quiet bool
	var format string
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List drivers with their kind, version, health and process",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []drivers.Driver
			if err := get(cmd.Context(), a, "/strake/v1/drivers", &list); err != nil {
				return err
			}
			rows := make([]row, 0, len(list))
			for _, d := range list {
				r := row{Name: d.Name, Kind: d.Kind, Version: d.Version, Status: d.Status, Pid: fmt.Sprint(d.Pid), Restarts: fmt.Sprint(d.Restarts), Path: d.Path, Reason: d.Reason}
				if !d.StartedAt.IsZero() {
					r.Up = units.HumanDuration(time.Since(d.StartedAt))
				}
				if d.Reason != "" && format == "" {
					r.Status += " (" + d.Reason + ")"
				}
				rows = append(rows, r)
			}
			return app.Table(a.Out, format, quiet, listTable, rows)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display names")
	cmd.Flags().StringVar(&format, "format", "", app.FormatHelp)
	return cmd
}

func newInspect(a *app.App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] DRIVER [DRIVER...]",
		Short: "Display detailed information on one or more drivers",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Inspect(args, format, func(name string) (any, []byte, error) {
				var d drivers.Driver
				var raw bytes.Buffer
				err := fetch(cmd.Context(), a, "/strake/v1/drivers/"+url.PathEscape(name), &raw)
				if err != nil {
					return nil, nil, err
				}
				err = json.Unmarshal(raw.Bytes(), &d)
				return d, raw.Bytes(), err
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	return cmd
}

func newRestart(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "restart DRIVER [DRIVER...]",
		Short: "Relaunch drivers, for example after their binary was replaced; containers run on",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs []error
			for _, name := range args {
				body, err := a.Post(cmd.Context(), "/strake/v1/drivers/"+url.PathEscape(name)+"/restart")
				if err == nil {
					_, err = fmt.Fprintln(a.Out, name)
					err = errors.Join(err, body.Close())
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
	}
}

func get(ctx context.Context, a *app.App, path string, into any) error {
	var raw strings.Builder
	if err := fetch(ctx, a, path, &raw); err != nil {
		return err
	}
	return json.Unmarshal([]byte(raw.String()), into)
}

func fetch(ctx context.Context, a *app.App, path string, w io.Writer) (err error) {
	body, err := a.Get(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	_, err = io.Copy(w, body)
	return err
}

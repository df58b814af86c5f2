package container

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewTop is the command top.
func NewTop(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "top CONTAINER [ps OPTIONS]",
		Short:             "Display the running processes of a container",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.ContainerTop(cmd.Context(), args[0], client.ContainerTopOptions{Arguments: args[1:]})
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(a.Out, 20, 1, 3, ' ', 0)
			for _, row := range append([][]string{res.Titles}, res.Processes...) {
				if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
					return err
				}
			}
			return w.Flush()
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// NewPort is the command port.
func NewPort(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Short:             "List port mappings or a specific mapping for the container",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.ContainerInspect(cmd.Context(), args[0], client.ContainerInspectOptions{})
			if err != nil {
				return err
			}
			var lines []string
			for port, bindings := range res.Container.NetworkSettings.Ports {
				for _, b := range bindings {
					host := b.HostIP.String()
					if b.HostIP.Is6() {
						host = "[" + host + "]"
					}
					switch {
					case len(args) == 1:
						lines = append(lines, fmt.Sprintf("%s -> %s:%s", port, host, b.HostPort))
					case args[1] == port.String() || args[1] == port.Port() && port.Proto() == "tcp":
						lines = append(lines, host+":"+b.HostPort)
					}
				}
			}
			if len(args) == 2 && len(lines) == 0 {
				return errors.New("no public port '" + args[1] + "' published for " + args[0])
			}
			return app.PrintSorted(a.Out, lines)
		},
	}
}

// NewInspect is the command container inspect.
func NewInspect(a *app.App) *cobra.Command {
	var format string
	var size bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Display detailed information on one or more containers",
		ValidArgsFunction: a.CompleteContainers(true),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			return a.Inspect(args, format, func(ref string) (any, []byte, error) {
				res, err := c.ContainerInspect(cmd.Context(), ref, client.ContainerInspectOptions{Size: size})
				return res.Container, res.Raw, err
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Display total file sizes")
	return cmd
}

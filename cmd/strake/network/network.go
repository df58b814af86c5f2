// Package network has the verbs on networks.
package network

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// New is the command network.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{Use: "network", Short: "Manage networks"}
	cmd.AddCommand(newCreate(a), newList(a), newInspect(a), newRemove(a), newPrune(a), newConnect(a), newDisconnect(a))
	return cmd
}

type row struct{ ID, Name, Driver, Scope, IPv4, IPv6, Internal, CreatedAt string }

const listTable = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"

func newList(a *app.App) *cobra.Command {
	var quiet, noTrunc bool
	var format string
	filter := opts.NewFilterOpt()
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List networks",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.NetworkList(cmd.Context(), client.NetworkListOptions{Filters: filter.Value()})
			if err != nil {
				return err
			}
			rows := make([]row, 0, len(res.Items))
			for _, n := range res.Items {
				id := n.ID
				if !noTrunc {
					id = id[:min(len(id), 12)]
				}
				rows = append(rows, row{id, n.Name, n.Driver, n.Scope, fmt.Sprint(n.EnableIPv4), fmt.Sprint(n.EnableIPv6), fmt.Sprint(n.Internal), n.Created.String()})
			}
			return app.Table(a.Out, format, quiet, listTable, rows)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display network IDs")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "Do not truncate the output")
	cmd.Flags().StringVar(&format, "format", "", app.FormatHelp)
	cmd.Flags().VarP(&filter, "filter", "f", `Provide filter values (e.g. "driver=bridge")`)
	return cmd
}

func newInspect(a *app.App) *cobra.Command {
	var format string
	var verbose bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] NETWORK [NETWORK...]",
		Short:             "Display detailed information on one or more networks",
		ValidArgsFunction: a.CompleteNetworks(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			return a.Inspect(args, format, func(ref string) (any, []byte, error) {
				res, err := c.NetworkInspect(cmd.Context(), ref, client.NetworkInspectOptions{Verbose: verbose})
				return res.Network, res.Raw, err
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Verbose output for diagnostics")
	return cmd
}

func newRemove(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NETWORK [NETWORK...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more networks",
		ValidArgsFunction: a.CompleteNetworks(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Each(cmd.Context(), args, func(ctx context.Context, c *client.Client, name string) error {
				_, err := c.NetworkRemove(ctx, name, client.NetworkRemoveOptions{})
				return err
			})
		},
	}
}

func newPrune(a *app.App) *cobra.Command {
	var force bool
	filter := opts.NewFilterOpt()
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all unused networks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.Confirm(force, "This will remove all custom networks not used by at least one container."); err != nil {
				return err
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.NetworkPrune(cmd.Context(), client.NetworkPruneOptions{Filters: filter.Value()})
			if err != nil {
				return err
			}
			return app.PrintSorted(a.Out, res.Report.NetworksDeleted)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	cmd.Flags().Var(&filter, "filter", `Provide filter values (e.g. "until=<timestamp>")`)
	return cmd
}

func newConnect(a *app.App) *cobra.Command {
	var ip4, ip6 string
	e := &network.EndpointSettings{}
	cmd := &cobra.Command{
		Use:   "connect [OPTIONS] NETWORK CONTAINER",
		Short: "Connect a container to a network",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if ip4 != "" || ip6 != "" {
				e.IPAMConfig = &network.EndpointIPAMConfig{}
				if e.IPAMConfig.IPv4Address, err = address("--ip", ip4); err != nil {
					return err
				}
				if e.IPAMConfig.IPv6Address, err = address("--ip6", ip6); err != nil {
					return err
				}
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			_, err = c.NetworkConnect(cmd.Context(), args[0], client.NetworkConnectOptions{Container: args[1], EndpointConfig: e})
			return err
		},
	}
	cmd.Flags().StringVar(&ip4, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	cmd.Flags().StringVar(&ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	cmd.Flags().StringSliceVar(&e.Aliases, "alias", nil, "Add network-scoped alias for the container")
	return cmd
}

func address(flag, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("%s: %w", flag, err)
	}
	return a, nil
}

func newDisconnect(a *app.App) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "disconnect [OPTIONS] NETWORK CONTAINER",
		Short: "Disconnect a container from a network",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			_, err = c.NetworkDisconnect(cmd.Context(), args[0], client.NetworkDisconnectOptions{Container: args[1], Force: force})
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the container to disconnect from a network")
	return cmd
}

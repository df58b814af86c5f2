package network

import (
	"fmt"
	"net/netip"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

func newCreate(a *app.App) *cobra.Command {
	var o client.NetworkCreateOptions
	var ipv6 bool
	var subnets, gateways, ranges []string
	driverOpts, labels := opts.NewMapOpts(nil, nil), opts.NewListOpts(opts.ValidateLabel)
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NETWORK",
		Short: "Create a network",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o.Options, o.Labels = driverOpts.GetAll(), opts.ConvertKVStringsToMap(labels.GetSlice())
			if cmd.Flags().Changed("ipv6") {
				o.EnableIPv6 = &ipv6
			}
			if o.IPAM, err = ipam(subnets, gateways, ranges); err != nil {
				return err
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.NetworkCreate(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Out, res.ID)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Driver, "driver", "d", "bridge", "Driver to manage the Network")
	f.VarP(driverOpts, "opt", "o", "Set driver specific options")
	f.Var(&labels, "label", "Set metadata on a network")
	f.BoolVar(&o.Internal, "internal", false, "Restrict external access to the network")
	f.BoolVar(&o.Attachable, "attachable", false, "Enable manual container attachment")
	f.BoolVar(&ipv6, "ipv6", false, "Enable IPv6 networking")
	f.StringSliceVar(&subnets, "subnet", nil, "Subnet in CIDR format that represents a network segment")
	f.StringSliceVar(&gateways, "gateway", nil, "IPv4 or IPv6 Gateway for the master subnet")
	f.StringSliceVar(&ranges, "ip-range", nil, "Allocate container ip from a sub-range")
	return cmd
}

// ipam puts each gateway and range to the subnet that contains it.
func ipam(subnets, gateways, ranges []string) (*network.IPAM, error) {
	if len(subnets)+len(gateways)+len(ranges) == 0 {
		return nil, nil
	}
	cfg := &network.IPAM{Driver: "default"}
	for _, s := range subnets {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--subnet: %w", err)
		}
		cfg.Config = append(cfg.Config, network.IPAMConfig{Subnet: p})
	}
	find := func(flag string, a netip.Addr) (*network.IPAMConfig, error) {
		for i := range cfg.Config {
			if cfg.Config[i].Subnet.Contains(a) {
				return &cfg.Config[i], nil
			}
		}
		return nil, fmt.Errorf("%s %s: no --subnet contains it", flag, a)
	}
	for _, s := range gateways {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("--gateway: %w", err)
		}
		c, err := find("--gateway", a)
		if err != nil {
			return nil, err
		}
		c.Gateway = a
	}
	for _, s := range ranges {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--ip-range: %w", err)
		}
		c, err := find("--ip-range", p.Addr())
		if err != nil {
			return nil, err
		}
		c.IPRange = p
	}
	return cfg, nil
}

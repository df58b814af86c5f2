package system

import (
	"bytes"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewInspect is the command inspect, which finds containers, images, networks
// and volumes, in this order.
func NewInspect(a *app.App) *cobra.Command {
	var format, kind string
	var size bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Short: "Return low-level information on Strake objects",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			lookups := []struct {
				kind string
				get  func(ref string) (any, []byte, error)
			}{
				{"container", func(ref string) (any, []byte, error) {
					r, err := c.ContainerInspect(ctx, ref, client.ContainerInspectOptions{Size: size})
					return r.Container, r.Raw, err
				}},
				{"image", func(ref string) (any, []byte, error) {
					var raw bytes.Buffer
					r, err := c.ImageInspect(ctx, ref, client.ImageInspectWithRawResponse(&raw))
					return r.InspectResponse, raw.Bytes(), err
				}},
				{"network", func(ref string) (any, []byte, error) {
					r, err := c.NetworkInspect(ctx, ref, client.NetworkInspectOptions{})
					return r.Network, r.Raw, err
				}},
				{"volume", func(ref string) (any, []byte, error) {
					r, err := c.VolumeInspect(ctx, ref, client.VolumeInspectOptions{})
					return r.Volume, r.Raw, err
				}},
			}
			return a.Inspect(args, format, func(ref string) (any, []byte, error) {
				for _, l := range lookups {
					if kind != "" && kind != l.kind {
						continue
					}
					v, raw, err := l.get(ref)
					if kind != "" || !errdefs.IsNotFound(err) {
						return v, raw, err
					}
				}
				return nil, nil, fmt.Errorf("no such object: %s", ref)
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	cmd.Flags().StringVar(&kind, "type", "", "Only inspect objects of the given type: container, image, network or volume")
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Display total file sizes if the type is container")
	return cmd
}

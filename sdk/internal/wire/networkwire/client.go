// Package networkwire carries the network contract over gRPC.
package networkwire

import (
	"context"

	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	pb "github.com/strakehq/strake/sdk/internal/pb/networkpb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/network"
)

type client struct {
	*driverwire.Client
	rpc pb.NetworkServiceClient
}

// NewClient returns the driver behind cc.
func NewClient(cc grpc.ClientConnInterface) network.Driver {
	return &client{driverwire.NewClient(cc), pb.NewNetworkServiceClient(cc)}
}

var _ driver.Driver = (*client)(nil)

func (c *client) EnsureNetwork(ctx context.Context, n network.Network) (network.Network, error) {
	r, err := c.rpc.EnsureNetwork(ctx, &pb.EnsureNetworkRequest{Network: toNetwork(n)})
	if err != nil {
		return network.Network{}, err
	}
	return fromNetwork(r.GetNetwork())
}

func (c *client) RemoveNetwork(ctx context.Context, id network.NetworkID) error {
	_, err := c.rpc.RemoveNetwork(ctx, &pb.RemoveNetworkRequest{Id: string(id)})
	return err
}

func (c *client) Attach(ctx context.Context, r network.AttachRequest) (network.Attachment, error) {
	a, err := c.rpc.Attach(ctx, toRequest(r))
	if err != nil {
		return network.Attachment{}, err
	}
	return fromAttachment(a.GetAttachment())
}

func (c *client) Detach(ctx context.Context, id network.EndpointID) error {
	_, err := c.rpc.Detach(ctx, &pb.DetachRequest{Id: string(id)})
	return err
}

func (c *client) Recover(ctx context.Context, a network.Attachment) (network.Attachment, error) {
	in, err := toAttachment(a)
	if err != nil {
		return network.Attachment{}, err
	}
	r, err := c.rpc.Recover(ctx, &pb.RecoverRequest{Attachment: in})
	if err != nil {
		return network.Attachment{}, err
	}
	return fromAttachment(r.GetAttachment())
}

func (c *client) Check(ctx context.Context, id network.EndpointID) error {
	_, err := c.rpc.Check(ctx, &pb.CheckRequest{Id: string(id)})
	return err
}

func (c *client) List(ctx context.Context) ([]network.Attachment, error) {
	r, err := c.rpc.List(ctx, &pb.ListRequest{})
	if err != nil {
		return nil, err
	}
	var out []network.Attachment
	for _, in := range r.GetAttachments() {
		a, err := fromAttachment(in)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func (c *client) SetNames(ctx context.Context, id network.EndpointID, names []string) error {
	_, err := c.rpc.SetNames(ctx, &pb.SetNamesRequest{Id: string(id), Names: names})
	return err
}

func (c *client) Collect(ctx context.Context, networks []network.NetworkID, endpoints []network.EndpointID) error {
	_, err := c.rpc.Collect(ctx, &pb.CollectRequest{
		Networks: driverwire.Strings[string](networks), Endpoints: driverwire.Strings[string](endpoints),
	})
	return err
}

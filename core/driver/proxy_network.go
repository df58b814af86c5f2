package driver

import (
	"context"

	"github.com/strakehq/strake/sdk/network"
)

type networkProxy struct{ common }

var _ network.Driver = networkProxy{}

func (p networkProxy) EnsureNetwork(ctx context.Context, n network.Network) (network.Network, error) {
	return call(ctx, p.in, quick("EnsureNetwork"), func(ctx context.Context, d network.Driver) (network.Network, error) {
		return d.EnsureNetwork(ctx, n)
	})
}

func (p networkProxy) RemoveNetwork(ctx context.Context, id network.NetworkID) error {
	return do(ctx, p.in, quick("RemoveNetwork"), func(ctx context.Context, d network.Driver) error { return d.RemoveNetwork(ctx, id) })
}

func (p networkProxy) Attach(ctx context.Context, r network.AttachRequest) (network.Attachment, error) {
	return call(ctx, p.in, quick("Attach"), func(ctx context.Context, d network.Driver) (network.Attachment, error) {
		return d.Attach(ctx, r)
	})
}

func (p networkProxy) Detach(ctx context.Context, id network.EndpointID) error {
	return do(ctx, p.in, quick("Detach"), func(ctx context.Context, d network.Driver) error { return d.Detach(ctx, id) })
}

func (p networkProxy) Recover(ctx context.Context, a network.Attachment) (network.Attachment, error) {
	return call(ctx, p.in, quick("Recover"), func(ctx context.Context, d network.Driver) (network.Attachment, error) {
		return d.Recover(ctx, a)
	})
}

func (p networkProxy) Check(ctx context.Context, id network.EndpointID) error {
	return do(ctx, p.in, quick("Check"), func(ctx context.Context, d network.Driver) error { return d.Check(ctx, id) })
}

func (p networkProxy) List(ctx context.Context) ([]network.Attachment, error) {
	return call(ctx, p.in, quick("List"), func(ctx context.Context, d network.Driver) ([]network.Attachment, error) { return d.List(ctx) })
}

func (p networkProxy) SetNames(ctx context.Context, id network.EndpointID, names []string) error {
	return do(ctx, p.in, quick("SetNames"), func(ctx context.Context, d network.Driver) error { return d.SetNames(ctx, id, names) })
}

func (p networkProxy) Collect(ctx context.Context, networks []network.NetworkID, endpoints []network.EndpointID) error {
	return do(ctx, p.in, slow("Collect"), func(ctx context.Context, d network.Driver) error {
		return d.Collect(ctx, networks, endpoints)
	})
}

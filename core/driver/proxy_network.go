package driver

import (
	"cmp"
	"context"

	"github.com/strakehq/strake/sdk/network"
)

type networkProxy struct{ common }

var _ network.Driver = networkProxy{}

func (p networkProxy) EnsureNetwork(ctx context.Context, n network.Network) (network.Network, error) {
	return call(ctx, p.in, quick("EnsureNetwork"), func(ctx context.Context, d network.Driver) (network.Network, error) {
		made, err := d.EnsureNetwork(ctx, n)
		if err == nil {
			err = same(p.in, "EnsureNetwork", "network", n.ID, made.ID)
		}
		return made, err
	})
}

func (p networkProxy) RemoveNetwork(ctx context.Context, id network.NetworkID) error {
	return do(ctx, p.in, quick("RemoveNetwork"), func(ctx context.Context, d network.Driver) error { return d.RemoveNetwork(ctx, id) })
}

func (p networkProxy) Attach(ctx context.Context, r network.AttachRequest) (network.Attachment, error) {
	return call(ctx, p.in, quick("Attach"), func(ctx context.Context, d network.Driver) (network.Attachment, error) {
		a, err := d.Attach(ctx, r)
		if err == nil {
			err = p.asked("Attach", r.Endpoint, r.Network, r.Container, r.NetNS, r.IfName, &a)
		}
		return a, err
	})
}

// asked refuses an attachment that is not the one asked for, and leaves nothing of
// it.
func (p networkProxy) asked(method string, e network.EndpointID, n network.NetworkID, container, netns, ifName string, a *network.Attachment) error {
	err := cmp.Or(
		same(p.in, method, "endpoint", e, a.Endpoint), same(p.in, method, "network", n, a.Network),
		same(p.in, method, "container", container, a.Container), same(p.in, method, "network namespace", netns, a.NetNS),
		same(p.in, method, "interface", ifName, a.IfName),
	)
	if err != nil {
		*a = network.Attachment{}
	}
	return err
}

func (p networkProxy) Detach(ctx context.Context, id network.EndpointID) error {
	return do(ctx, p.in, quick("Detach"), func(ctx context.Context, d network.Driver) error { return d.Detach(ctx, id) })
}

func (p networkProxy) Recover(ctx context.Context, a network.Attachment) (network.Attachment, error) {
	return call(ctx, p.in, quick("Recover"), func(ctx context.Context, d network.Driver) (network.Attachment, error) {
		got, err := d.Recover(ctx, a)
		if err == nil {
			err = p.asked("Recover", a.Endpoint, a.Network, a.Container, a.NetNS, a.IfName, &got)
		}
		return got, err
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

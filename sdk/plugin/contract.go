package plugin

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/internal/wire/networkwire"
	"github.com/strakehq/strake/sdk/internal/wire/registrywire"
	"github.com/strakehq/strake/sdk/internal/wire/runtimewire"
	"github.com/strakehq/strake/sdk/internal/wire/storagewire"
	"github.com/strakehq/strake/sdk/network"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

// contract is a driver with what its type says of it.
type contract struct {
	kind     driver.Kind
	register func(grpc.ServiceRegistrar)
}

// contractOf finds out which contract d implements.
func contractOf(d driver.Driver) (contract, error) {
	var c contract
	var caps []driver.Capability
	var kind func(grpc.ServiceRegistrar)
	switch d := d.(type) {
	case storage.Driver:
		c.kind, caps = driver.Storage, storagewire.Capabilities(d)
		kind = func(r grpc.ServiceRegistrar) { storagewire.Register(r, d) }
	case runtime.Driver:
		c.kind = driver.Runtime
		kind = func(r grpc.ServiceRegistrar) { runtimewire.Register(r, d) }
	case network.Driver:
		c.kind = driver.Network
		kind = func(r grpc.ServiceRegistrar) { networkwire.Register(r, d) }
	case registry.Driver:
		c.kind = driver.Registry
		kind = func(r grpc.ServiceRegistrar) { registrywire.Register(r, d) }
	default:
		return c, fmt.Errorf("%T implements none of the four contracts: %w", d, errdefs.ErrInvalidArgument)
	}
	common := driverwire.NewServer(d, c.kind, caps...)
	c.register = func(r grpc.ServiceRegistrar) {
		common.Register(r)
		kind(r)
	}
	return c, nil
}

// grpcPlugin is how go-plugin gets at the services, and the host at the
// connection.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	contract contract // zero on the host's side
}

var _ goplugin.GRPCPlugin = (*grpcPlugin)(nil)

// GRPCServer registers the driver's services.
func (p *grpcPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	p.contract.register(s)
	return nil
}

// GRPCClient returns the connection.
func (p *grpcPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	return cc, nil
}

func pluginSets(p *grpcPlugin) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{ContractVersion: {pluginName: p}}
}

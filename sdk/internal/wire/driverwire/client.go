// Package driverwire carries the part of the contract that all drivers share,
// and the types that several contracts use, over gRPC.
package driverwire

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	pb "github.com/strakehq/strake/sdk/internal/pb/driverpb"
)

// Client is a driver behind a connection.
type Client struct {
	rpc pb.DriverServiceClient
}

var _ driver.Driver = (*Client)(nil)

// NewClient returns the driver behind cc.
func NewClient(cc grpc.ClientConnInterface) *Client {
	return &Client{pb.NewDriverServiceClient(cc)}
}

// Info asks for the driver's identity.
func (c *Client) Info(ctx context.Context) (driver.Info, error) {
	r, err := c.rpc.GetInfo(ctx, &pb.GetInfoRequest{})
	if err != nil {
		return driver.Info{}, err
	}
	info := driver.Info{
		Kind: driver.Kind(r.GetKind()), Name: r.GetName(), Version: r.GetVersion(),
		OptionsSchema: r.GetOptionsSchema(),
	}
	for _, c := range r.GetCapabilities() {
		info.Capabilities = append(info.Capabilities, driver.Capability(c))
	}
	return info, nil
}

// Configure hands the driver its configuration.
func (c *Client) Configure(ctx context.Context, conf driver.Config) error {
	_, err := c.rpc.Configure(ctx, &pb.ConfigureRequest{
		Options: conf.Options, StateDir: conf.StateDir, RunDir: conf.RunDir, Libexec: conf.Libexec,
	})
	return err
}

// WatchHealth reports until ctx ends.
func (c *Client) WatchHealth(ctx context.Context, report func(driver.Health)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.rpc.WatchHealth(ctx, &pb.WatchHealthRequest{})
	if err != nil {
		return EndOfWatch(ctx, err)
	}
	return Watch(ctx, s, func(r *pb.WatchHealthResponse) {
		report(driver.Health{Status: driver.Status(r.GetStatus()), Reason: r.GetReason()})
	})
}

// Shutdown announces an orderly end.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := c.rpc.Shutdown(ctx, &pb.ShutdownRequest{})
	return err
}

// Watch delivers the messages of a stream until ctx or the stream ends.
func Watch[M any](ctx context.Context, s grpc.ServerStreamingClient[M], deliver func(*M)) error {
	for {
		m, err := s.Recv()
		if err != nil {
			return EndOfWatch(ctx, err)
		}
		deliver(m)
	}
}

// EndOfWatch is what a watch returns when err ended its stream: nothing, when
// that is what its caller wanted.
func EndOfWatch(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil //nolint:nilerr // the end that was wanted
	}
	return err
}

package plugin

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/footprint"
	"github.com/strakehq/strake/sdk/internal/peercred"
	"github.com/strakehq/strake/sdk/internal/rpcerr"
	"github.com/strakehq/strake/sdk/internal/rpctrace"
	"github.com/strakehq/strake/sdk/mishap"
)

// maxMessage bounds messages in both directions, in bytes.
const maxMessage = 16 << 20

// newServer makes the gRPC server of a driver. accepted is called for each
// connection.
func newServer(log hclog.Logger, accepted func()) *grpc.Server {
	g := guard{log, footprint.NewRest(settled, rested)}
	return grpc.NewServer(
		grpc.Creds(&peercred.Credentials{Accepted: accepted}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.ChainUnaryInterceptor(rpcerr.UnaryServer, rpctrace.UnaryServer, g.unary),
		grpc.ChainStreamInterceptor(rpcerr.StreamServer, g.stream),
	)
}

// A driver's pages are let go when its start is over, and when nothing was asked
// of it for some time. To map them again costs the next call less than a
// millisecond.
const (
	settled = time.Second
	rested  = time.Minute
)

// guard surrounds a driver's methods: it logs calls, demands deadlines, and
// turns panics into errors.
type guard struct {
	log  hclog.Logger
	rest *footprint.Rest
}

func (g guard) unary(ctx context.Context, req any, i *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	if !ours(i.FullMethod) {
		return next(ctx, req)
	}
	op := rpcerr.Verb(i.FullMethod)
	if op != "Info" { // by which the host looks whether the driver is there
		g.rest.Stir()
	}
	if _, ok := ctx.Deadline(); !ok {
		return nil, fmt.Errorf("%s: call without a deadline: %w", op, errdefs.ErrInvalidArgument)
	}
	start := time.Now()
	defer func() {
		g.recover(op, recover(), &err)
		g.done(op, start, err)
	}()
	mishap.Serve(i.FullMethod, mishap.Before)
	defer mishap.Serve(i.FullMethod, mishap.After)
	return next(ctx, req)
}

func (g guard) stream(srv any, s grpc.ServerStream, i *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	if !ours(i.FullMethod) {
		return next(srv, s)
	}
	op := rpcerr.Verb(i.FullMethod)
	start := time.Now()
	defer func() {
		g.recover(op, recover(), &err)
		g.rest.Stir()
		g.done(op, start, err)
	}()
	return next(srv, s)
}

// ours says that a method is one of Strake's contracts, not of go-plugin.
func ours(method string) bool { return strings.HasPrefix(method, "/strake.") }

func (g guard) recover(op string, r any, err *error) {
	if r == nil {
		return
	}
	g.log.Error("panic", "op", op, "panic", r, "stack", string(debug.Stack()))
	*err = fmt.Errorf("%s: panic: %v: %w", op, r, errdefs.ErrInternal)
}

func (g guard) done(op string, start time.Time, err error) {
	if !g.log.IsDebug() {
		return
	}
	took := time.Since(start).Round(time.Microsecond)
	if err != nil {
		g.log.Debug("call failed", "op", op, "took", took, "err", err)
		return
	}
	g.log.Debug("call", "op", op, "took", took)
}

package plugin

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/internal/peercred"
	"github.com/strakehq/strake/sdk/internal/rpcerr"
	"github.com/strakehq/strake/sdk/internal/rpctrace"
	"github.com/strakehq/strake/sdk/mishap"
)

// ErrLost is the error, of class errdefs.ErrUnavailable, of calls whose
// connection broke: the driver's process ended. A call that may be repeated can
// be repeated on its next process.
var ErrLost = rpcerr.ErrLost

// Timeouts are the deadlines of calls that are made without one. Zero values
// stand for the defaults. Watches have none.
type Timeouts struct {
	// Short is for calls that look something up or change a record. Default
	// 30 seconds.
	Short time.Duration
	// Long is for calls that wait for a network or walk a tree. Default 5
	// minutes.
	Long time.Duration
	// Bulk is for calls that move a layer or blob. Default 12 hours.
	Bulk time.Duration
}

func (t Timeouts) of(method string) time.Duration {
	switch rpcerr.Verb(method) {
	case "Apply", "Diff", "FetchBlob", "PushBlob":
		return orDefault(t.Bulk, 12*time.Hour)
	case "Collect", "Sync", "Usage", "Recover", "Configure", "Resolve", "GetManifest", "StatBlob", "MountBlob",
		"PutManifest", "ListTags", "ListReferrers", "Login":
		return orDefault(t.Long, 5*time.Minute)
	default:
		return orDefault(t.Short, 30*time.Second)
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// unary sees to it that a call has a deadline.
func (t Timeouts) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	next grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.of(method))
		defer cancel()
	}
	mishap.Call(method, mishap.Before)
	defer mishap.Call(method, mishap.After)
	return next(ctx, method, req, reply, cc, opts...)
}

// dialOptions make the connection to a driver.
func dialOptions(l rpcerr.Link, t Timeouts) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(&peercred.Credentials{}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithChainUnaryInterceptor(l.UnaryClient, t.unary, rpctrace.UnaryClient),
		grpc.WithChainStreamInterceptor(l.StreamClient),
	}
}

package rpcerr

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
)

// Link is the state of the connection to one driver, for error messages.
type Link struct {
	// Name of the driver, as in "storage driver overlay".
	Name string
	// Dead is closed when the driver's process has ended.
	Dead <-chan struct{}
}

// UnaryServer encodes what handlers return.
func UnaryServer(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	return resp, Encode(err)
}

// StreamServer is UnaryServer for streams.
func StreamServer(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return Encode(next(srv, s))
}

// UnaryClient decodes what calls return, and ends calls when the driver dies.
func (l Link) UnaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	next grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	ctx, cancel := l.bind(ctx)
	defer cancel(nil)
	return l.decode(ctx, next(ctx, method, req, reply, cc, opts...), method)
}

// StreamClient is UnaryClient for streams.
func (l Link) StreamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	next grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	ctx, cancel := l.bind(ctx)
	s, err := next(ctx, desc, cc, method, opts...)
	if err != nil {
		defer cancel(nil)
		return nil, l.decode(ctx, err, method)
	}
	return &stream{ClientStream: s, link: l, ctx: ctx, cancel: cancel, method: method}, nil
}

// bind joins the driver's life to a call: a socket may outlive the process, in
// the hands of a child.
func (l Link) bind(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-l.Dead:
			cancel(ErrLost)
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (l Link) decode(ctx context.Context, err error, method string) error {
	return Decode(ctx, err, fmt.Sprintf("%s: %s", l.Name, Verb(method)))
}

// stream decodes errors of a client stream.
type stream struct {
	grpc.ClientStream
	link   Link
	ctx    context.Context //nolint:containedctx // belongs to one call
	cancel context.CancelCauseFunc
	method string
}

func (s *stream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		return nil
	}
	defer s.cancel(nil)
	if errors.Is(err, io.EOF) {
		return err
	}
	return s.link.decode(s.ctx, err, s.method)
}

// Verb is a method's name without its service: "Prepare" for
// "/strake.storage.v1.StorageService/Prepare".
func Verb(method string) string {
	for i := len(method) - 1; i >= 0; i-- {
		if method[i] == '/' {
			return method[i+1:]
		}
	}
	return method
}

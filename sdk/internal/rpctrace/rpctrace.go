// Package rpctrace carries traces over gRPC: the caller's position in the
// request's metadata, the spans of the other side in the answer's trailer. A
// call outside of any trace pays one look into its context.
package rpctrace

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/strakehq/strake/sdk/trace"
)

const (
	parentKey = "traceparent"
	spansKey  = "strake-spans-bin"
	// maxSpans bounds the spans of one call.
	maxSpans = 512
)

// UnaryClient sends the context's position and records the spans that come
// back.
func UnaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	next grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	parent := trace.Parent(ctx)
	if parent == "" {
		return next(ctx, method, req, reply, cc, opts...)
	}
	var trailer metadata.MD
	err := next(metadata.AppendToOutgoingContext(ctx, parentKey, parent), method, req, reply, cc, append(opts, grpc.Trailer(&trailer))...)
	for _, b := range trailer.Get(spansKey) {
		var spans []trace.Span
		if json.Unmarshal([]byte(b), &spans) == nil { // what is no trace is left out of it
			trace.From(ctx).Add(spans[:min(len(spans), maxSpans)]...)
		}
	}
	return err
}

// UnaryServer runs a traced call under a recorder, with a span for the call
// itself, and returns the spans.
func UnaryServer(ctx context.Context, req any, i *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	parent := metadata.ValueFromIncomingContext(ctx, parentKey)
	if len(parent) == 0 {
		return next(ctx, req)
	}
	rec := &trace.Recorder{}
	traced, ok := trace.Into(ctx, rec, parent[0])
	if !ok {
		return next(ctx, req)
	}
	traced, end := trace.Start(traced, name(i.FullMethod))
	resp, err := next(traced, req)
	end(err)
	return resp, send(ctx, rec, err)
}

// send puts the spans into the trailer. It returns err, whatever becomes of
// them.
func send(ctx context.Context, rec *trace.Recorder, err error) error {
	spans := rec.Spans()
	if n := len(spans) - maxSpans; n > 0 {
		spans = spans[n:] // the call's own span is the last
		spans[len(spans)-1].Attrs = map[string]string{"spans dropped": fmt.Sprint(n)}
	}
	if b, jsonErr := json.Marshal(spans); jsonErr == nil {
		_ = grpc.SetTrailer(ctx, metadata.Pairs(spansKey, string(b))) // see above
	}
	return err
}

// name is "storage.Prepare" for "/strake.storage.v1.StorageService/Prepare".
func name(method string) string {
	f := strings.FieldsFunc(method, func(r rune) bool { return r == '/' || r == '.' })
	if len(f) < 3 {
		return method
	}
	return f[1] + "." + f[len(f)-1]
}

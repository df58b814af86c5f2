package runc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/strakehq/strake/sdk/shim"
	"github.com/strakehq/strake/sdk/shim/wire"
	"github.com/strakehq/strake/sdk/trace"
)

// trace records what the shim did for a call.
func (d *Driver) trace(ctx context.Context, client *shim.Client, spans []wire.Span) {
	parent := strings.Split(trace.Parent(ctx), "-")
	if len(parent) != 4 || len(spans) == 0 {
		return
	}
	rec := trace.From(ctx)
	for _, s := range spans {
		rec.Add(trace.Span{
			TraceID: parent[1], Parent: parent[2], SpanID: newSpanID(), Name: s.Name,
			Process: "strake-shim", Pid: client.Pid(), Start: s.Start, End: s.End,
		})
	}
}

func newSpanID() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

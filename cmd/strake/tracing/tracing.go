// Package tracing shows the steps of a request as a waterfall: each span with
// the process it ran in, when it began and the time it took.
package tracing

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/sdk/trace"
)

// Begin makes the daemon record the requests of this run. The function returned
// fetches the spans and prints them to the error stream.
func Begin(a *app.App) (show func(context.Context) error) {
	id, start := a.StartTrace(), time.Now()
	return func(ctx context.Context) error {
		spans, err := fetch(ctx, a, id)
		if err != nil {
			return fmt.Errorf("trace %s: %w", id, err)
		}
		if err := Steps(a.Err, spans, start); err != nil {
			return err
		}
		return Waterfall(a.Err, spans, start)
	}
}

func fetch(ctx context.Context, a *app.App, id string) (spans []trace.Span, err error) {
	body, err := a.Get(ctx, "/strake/v1/traces/"+id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	err = json.NewDecoder(body).Decode(&spans)
	return spans, err
}

const barWidth = 32

// Waterfall prints spans as a tree in the order of their start, with a bar each
// that shows where in the whole it lies. Times are since start.
func Waterfall(w io.Writer, spans []trace.Span, start time.Time) error {
	if len(spans) == 0 {
		_, err := fmt.Fprintln(w, "no spans were recorded")
		return err
	}
	end := start
	known := map[string]bool{}
	for _, s := range spans {
		known[s.SpanID] = true
		if s.End.After(end) {
			end = s.End
		}
	}
	children := map[string][]trace.Span{}
	for _, s := range spans {
		parent := s.Parent
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	out := &strings.Builder{}
	fmt.Fprintf(out, "%-46s %-24s %9s %9s\n", "STEP", "PROCESS", "AT", "TOOK")
	var print func(parent string, depth int)
	print = func(parent string, depth int) {
		list := children[parent]
		slices.SortFunc(list, func(a, b trace.Span) int { return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.Name, b.Name)) })
		for _, s := range list {
			line(out, s, depth, start, end)
			print(s.SpanID, depth+1)
		}
	}
	print("", 0)
	_, err := io.WriteString(w, out.String())
	return err
}

func line(w io.Writer, s trace.Span, depth int, start, end time.Time) {
	name := strings.Repeat("  ", depth) + s.Name
	if r := []rune(name); len(r) > 46 {
		name = string(r[:45]) + "…"
	}
	total := max(end.Sub(start), 1)
	from := int(barWidth * max(s.Start.Sub(start), 0) / total)
	length := max(int(barWidth*s.End.Sub(s.Start)/total), 1)
	bar := strings.Repeat(" ", min(from, barWidth-1)) + strings.Repeat("█", min(length, barWidth-min(from, barWidth-1)))
	failed := ""
	if s.Err != "" {
		failed = "  ! " + s.Err
	}
	fmt.Fprintf(w, "%-46s %-24s %9s %9s %s%s\n", name, s.Process, millis(s.Start.Sub(start)), millis(s.End.Sub(s.Start)), bar, failed) //nolint:errcheck // a strings.Builder never fails
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

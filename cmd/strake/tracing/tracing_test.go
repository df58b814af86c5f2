package tracing

import (
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/sdk/trace"
)

func TestWaterfallIndentsChildrenAndOrdersByStart(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	spans := []trace.Span{
		{SpanID: "b", Parent: "a", Name: "second", Process: "strake-x", Start: at(50), End: at(90)},
		{SpanID: "a", Parent: "gone", Name: "whole", Process: "straked", Start: at(0), End: at(100)},
		{SpanID: "c", Parent: "a", Name: "first", Process: "strake-y", Start: at(10), End: at(40), Err: "broken"},
	}
	var out strings.Builder
	if err := Waterfall(&out, spans, t0); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range strings.Split(strings.TrimSpace(out.String()), "\n")[1:] {
		names = append(names, strings.Fields(l)[0])
	}
	if got := strings.Join(names, " "); got != "whole first second" {
		t.Errorf("order %q\n%s", got, out.String())
	}
	for _, want := range []string{"  first", "30.0 ms", "strake-y", "! broken"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
}

func TestStepsNameTheProcessesBelowThem(t *testing.T) {
	t0 := time.Unix(1000, 0)
	spans := []trace.Span{
		{SpanID: "a", Name: "create process", Process: "straked", Start: t0, End: t0.Add(20 * time.Millisecond)},
		{SpanID: "c", Parent: "b", Name: "runtime create", Process: "strake-shim", Start: t0, End: t0.Add(time.Millisecond)},
		{SpanID: "b", Parent: "a", Name: "runtime.Create", Process: "strake-runtime-runc", Start: t0, End: t0.Add(time.Millisecond)},
	}
	var out strings.Builder
	if err := Steps(&out, spans, t0); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 7 {
		t.Fatalf("%d steps, want 7:\n%s", len(lines), out.String())
	}
	for _, want := range []string{"20.0 ms", "straked", "strake-runtime-runc", "strake-shim"} {
		if !strings.Contains(lines[5], want) {
			t.Errorf("step 6 lacks %q: %s", want, lines[5])
		}
	}
	if !strings.HasSuffix(lines[1], "-") {
		t.Errorf("a step that was not needed has a time: %s", lines[1])
	}
}

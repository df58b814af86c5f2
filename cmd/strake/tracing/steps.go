package tracing

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/strakehq/strake/sdk/trace"
)

// step is one of the seven steps of a run, told by the spans that belong to it.
type step struct {
	name  string
	spans []string // substrings of span names
}

var steps = []step{
	{"validate, look the image up", []string{"/containers/create"}},
	{"pull the image", []string{"/images/create"}},
	{"prepare the root", []string{"prepare snapshot", "mount snapshot"}},
	{"attach the network", []string{"attach network"}},
	{"publish the ports", []string{"publish"}},
	{"create the process", []string{"create process"}},
	{"start it", []string{"start process"}},
}

// Steps prints the seven steps of a run: when each began, the time it took and
// the processes that worked on it. Some run side by side, so the times add up to
// more than the whole. A step that was not needed has no time.
func Steps(w io.Writer, spans []trace.Span, start time.Time) error {
	var out strings.Builder
	for i, s := range steps {
		began, took, processes := s.find(spans)
		if took == 0 {
			fmt.Fprintf(&out, "%d. %-28s %9s %9s\n", i+1, s.name, "-", "-")
			continue
		}
		fmt.Fprintf(&out, "%d. %-28s %9s %9s  %s\n", i+1, s.name, millis(began.Sub(start)), millis(took), strings.Join(processes, ", "))
	}
	out.WriteByte('\n')
	_, err := io.WriteString(w, out.String())
	return err
}

// find adds up the spans of a step and names all processes at and below them.
func (s step) find(spans []trace.Span) (began time.Time, took time.Duration, processes []string) {
	below := map[string]bool{}
	for _, x := range spans {
		if !slices.ContainsFunc(s.spans, func(n string) bool { return strings.Contains(x.Name, n) }) {
			continue
		}
		below[x.SpanID] = true
		took += x.End.Sub(x.Start)
		if began.IsZero() || x.Start.Before(began) {
			began = x.Start
		}
	}
	for grown := true; grown; {
		grown = false
		for _, x := range spans {
			if below[x.Parent] && !below[x.SpanID] {
				below[x.SpanID], grown = true, true
			}
		}
	}
	for _, x := range spans {
		if below[x.SpanID] && !slices.Contains(processes, x.Process) {
			processes = append(processes, x.Process)
		}
	}
	return began, took, processes
}

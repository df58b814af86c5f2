package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/strakehq/strake/sdk/conformance"
)

// printer prints and counts results.
type printer struct {
	out                     io.Writer
	err                     error // the first of writing
	passed, failed, skipped int
}

func (p *printer) line(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format+"\n", args...); err != nil && p.err == nil {
		p.err = err
	}
}

func (p *printer) result(r conformance.Result) {
	took := r.Took.Round(time.Millisecond)
	switch {
	case r.Err != nil:
		p.failed++
		p.line("FAIL %8s  %s", took, r.Name)
		for _, l := range append(r.Log, r.Err.Error()) {
			p.line("    %s", strings.ReplaceAll(strings.TrimRight(l, "\n"), "\n", "\n    "))
		}
	case r.Skipped != "":
		p.skipped++
		p.line("skip %8s  %s: %s", took, r.Name, r.Skipped)
	default:
		p.passed++
		p.line("ok   %8s  %s", took, r.Name)
	}
}

package app

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/docker/cli/cli/command/inspect"
)

// Inspect prints each thing that refs name, as indented JSON or by a template.
// Those that are not found are reported after the others.
func (a *App) Inspect(refs []string, format string, get func(ref string) (any, []byte, error)) error {
	err := inspect.Inspect(a.Out, refs, format, func(ref string) (any, []byte, error) { return get(ref) })
	if err != nil {
		return StatusError{Code: 1, Err: err}
	}
	return nil
}

// PrintSorted prints lines in order.
func PrintSorted(w io.Writer, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	slices.Sort(lines)
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Error is one fault in a configuration.
type Error struct {
	// File is where the value stands: a file name, or "flag --host" and the
	// like for a value that overrode the file's.
	File string
	// Line and Column count from one; zero when the value stands nowhere.
	Line, Column int
	// Key is the dotted key, empty for a fault of syntax.
	Key string
	// Message says what is wrong and what is allowed.
	Message string
}

// Error renders "file:line:column: key: message".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	return b.String() + ": " + e.Message
}

// Errors are all faults of a configuration, in the order of the file. They are
// of class ErrInvalidArgument.
type Errors []*Error

// Error renders one fault a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes the class known to errors.Is.
func (e Errors) Unwrap() error { return errdefs.ErrInvalidArgument }

// err returns the faults in order, or nil when there are none.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return e
}

// suggest returns ` Did you mean "x"?` for the known name nearest to name, or
// nothing when none is near.
func suggest(name string, known []string) string {
	best, at := "", 1+len(name)/3
	for _, k := range known {
		if d := distance(name, k); d <= at {
			best, at = k, d-1
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", best)
}

// distance is the number of letters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Package logs reads container logs in Docker's json-file format, rotated
// files included. They are written by the container's shim.
package logs

import "time"

// Entry is one logged line or, for a line longer than 16 KiB, a part of one.
type Entry struct {
	// Stream is "stdout" or "stderr".
	Stream string
	Time   time.Time
	// Line with its newline, if it had one.
	Line  []byte
	Attrs map[string]string
}

// Options select entries.
type Options struct {
	Stdout, Stderr bool
	Since, Until   time.Time // zero: no bound
	// Tail is the number of last lines to begin with; negative: all.
	Tail   int
	Follow bool
	// Timestamps and Details change how the API renders entries, not which.
	Timestamps, Details bool
}

// Package conformance holds one suite of cases per driver contract. A suite
// runs against any driver: a Go value, one behind in-process gRPC, a binary, or
// a binary that is killed between calls. Exceptions are made for capabilities
// that a driver does not declare, never for driver names.
//
// In tests, RunTest runs a suite with one subtest a case. The program
// strake-conformance runs it for a binary in any language.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"time"
)

// Case is one named demand of a contract.
type Case struct {
	// Name is a sentence: "a committed snapshot cannot be written".
	Name string
	Run  func(t *T)
}

// Result is a case's outcome.
type Result struct {
	Name    string
	Err     error // nil when it passed or was skipped
	Skipped string
	Took    time.Duration
	Log     []string
}

// T is what a case reports to. Its methods are for the case's goroutine only,
// except for Logf and Errorf after external synchronization.
type T struct {
	ctx     context.Context //nolint:containedctx // T stands for one run, as testing.T does
	errs    []error
	log     []string
	skipped string
	cleanup []func()
}

type stop struct{}

// Context is done when the case's time is up.
func (t *T) Context() context.Context { return t.ctx }

// Logf notes something to be shown when the case fails.
func (t *T) Logf(format string, args ...any) { t.log = append(t.log, fmt.Sprintf(format, args...)) }

// Errorf fails the case and goes on.
func (t *T) Errorf(format string, args ...any) { t.errs = append(t.errs, fmt.Errorf(format, args...)) }

// Fatalf fails the case and ends it.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(stop{})
}

// Skipf ends the case: the driver does not declare what it needs.
func (t *T) Skipf(format string, args ...any) {
	t.skipped = fmt.Sprintf(format, args...)
	panic(stop{})
}

// NoError ends the case when err is not nil.
func (t *T) NoError(err error, doing string) {
	if err != nil {
		t.Fatalf("%s: %w", doing, err)
	}
}

// ErrorIs ends the case unless err is of the class.
func (t *T) ErrorIs(err, class error, doing string) {
	if !errors.Is(err, class) {
		t.Fatalf("%s: got error %v, want class %q", doing, err, class)
	}
}

// Cleanup registers f to run after the case, last registered first.
func (t *T) Cleanup(f func()) { t.cleanup = append(t.cleanup, f) }

// TempDir makes a directory that is removed after the case.
func (t *T) TempDir() string {
	d, err := os.MkdirTemp("", "strake-conformance-")
	t.NoError(err, "make a temporary directory")
	t.Cleanup(func() {
		if err := os.RemoveAll(d); err != nil {
			t.Errorf("clean up: %w", err)
		}
	})
	return d
}

// Run runs one case with a deadline.
func Run(ctx context.Context, c Case, timeout time.Duration) Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t := &T{ctx: ctx}
	start := time.Now()
	guard(t, func() { c.Run(t) })
	for i := len(t.cleanup) - 1; i >= 0; i-- {
		guard(t, t.cleanup[i])
	}
	return Result{Name: c.Name, Err: errors.Join(t.errs...), Skipped: t.skipped, Took: time.Since(start), Log: t.log}
}

func guard(t *T, f func()) {
	defer func() {
		switch r := recover(); r.(type) {
		case nil, stop:
		default:
			t.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	f()
}

// RunTest runs cases as subtests.
func RunTest(t *testing.T, cases []Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			r := Run(t.Context(), c, 2*time.Minute)
			for _, l := range r.Log {
				t.Log(l)
			}
			switch {
			case r.Err != nil:
				t.Fatal(r.Err)
			case r.Skipped != "":
				t.Skip(r.Skipped)
			}
		})
	}
}

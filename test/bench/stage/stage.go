// Package stage lets a program use what is written for tests: a TB outside of
// go test, with clean-up and with parts that may fail alone.
package stage

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
)

// TB is a testing.TB for programs. Only what is implemented here may be called;
// that is all that testkit needs.
type TB struct {
	testing.TB // nil: for the method that nobody else may implement
	out        io.Writer

	mu       sync.Mutex
	failures []string // guarded by mu
	cleanups []func() // guarded by mu
}

var _ testing.TB = (*TB)(nil)

// New makes a TB that logs to out.
func New(out io.Writer) *TB { return &TB{out: out} }

// Run calls f, with a TB of its own whose clean-ups end with it, and returns
// what failed. f runs in a goroutine of its own, which FailNow ends.
func (t *TB) Run(f func(*TB)) error {
	child := New(t.out)
	child.goAndWait(func() { f(child) })
	child.Close()
	if len(child.failures) > 0 {
		return fmt.Errorf("%s", child.failures[0])
	}
	return nil
}

func (t *TB) goAndWait(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// Close runs the clean-ups, the last first, and returns the first failure.
func (t *TB) Close() {
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		t.goAndWait(f)
	}
}

// Cleanup implements testing.TB.
func (t *TB) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// Helper implements testing.TB.
func (t *TB) Helper() {}

// Log implements testing.TB.
func (t *TB) Log(args ...any) { fmt.Fprintln(t.out, args...) }

// Logf implements testing.TB.
func (t *TB) Logf(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// Error implements testing.TB.
func (t *TB) Error(args ...any) { t.fail(fmt.Sprintln(args...)) }

// Errorf implements testing.TB.
func (t *TB) Errorf(format string, args ...any) { t.fail(fmt.Sprintf(format, args...)) }

// Fatal implements testing.TB.
func (t *TB) Fatal(args ...any) { t.Error(args...); runtime.Goexit() }

// Fatalf implements testing.TB.
func (t *TB) Fatalf(format string, args ...any) { t.Errorf(format, args...); runtime.Goexit() }

// Failed implements testing.TB.
func (t *TB) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failures) > 0
}

func (t *TB) fail(message string) {
	t.mu.Lock()
	t.failures = append(t.failures, message)
	t.mu.Unlock()
	fmt.Fprintln(t.out, "FAILED:", message)
}

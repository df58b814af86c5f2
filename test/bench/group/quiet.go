package group

import (
	"testing"
	"time"

	"github.com/strakehq/strake/test/bench/engine"
)

// quiet waits until an engine has taken less than two milliseconds of processor
// time in each of three stretches of 100 ms, or for so many stretches.
func quiet(tb testing.TB, e *engine.Engine, most int) {
	tb.Helper()
	for calm := 0; calm < 3 && most > 0; most-- {
		before := e.CG.CPU()
		time.Sleep(100 * time.Millisecond)
		if e.CG.CPU()-before < 0.002 {
			calm++
		} else {
			calm = 0
		}
	}
}

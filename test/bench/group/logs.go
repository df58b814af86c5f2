package group

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/stage"
)

// lineFile is what containers write again and again: 16 MiB of lines of 100
// bytes.
const lineFile = 16 << 20

// logs is how fast lines go into the log, out of it, and how fast bytes go
// through a container.
func logs(l *Lab, tb *stage.TB) {
	s := l.strake().Runc
	all := append([]*engine.Engine{s}, l.peers()...)
	l.have(tb, busybox, all...)
	var into, out, through []contestant
	for _, e := range all {
		// Peers are a good deal slower: a quarter of a GiB tells as much of them.
		mib := l.size(256, 32)
		if e == s {
			mib = l.size(1024, 64)
		}
		file := lines(tb, e)
		var id string
		tb.Cleanup(func() {
			if id != "" {
				e.Must(tb, "rm", "-f", id)
			}
		})
		rate := func(ms float64) float64 { return float64(mib) * 1.048576 / ms * 1000 }
		w := of(e, func(int) float64 {
			return rate(engine.Millis(func() {
				id = e.Must(tb, "run", "-d", "-v", file+":/lines:ro", busybox,
					"sh", "-c", fmt.Sprintf("for i in $(seq %d); do cat /lines; done", mib/(lineFile>>20)))
				e.Must(tb, "wait", id)
			}))
		})
		w.setUp = func(int) {
			if id != "" {
				e.Must(tb, "rm", "-f", id)
			}
		}
		w.peak = true
		into = append(into, w)
		r := of(e, func(int) float64 {
			return rate(engine.Millis(func() {
				cmd := e.Command("logs", id)
				cmd.Stdout = devNull(tb)
				e.MustRun(tb, cmd)
			}))
		})
		r.peak = true
		out = append(out, r)
		c := of(e, func(int) float64 {
			return rate(engine.Millis(func() {
				cmd := e.Host.Command("sh", "-c", fmt.Sprintf("for i in $(seq %d); do cat %q; done | \"$@\" >/dev/null", mib/(lineFile>>20), file))
				run := e.Command("run", "--rm", "-i", "--log-driver", "none", busybox, "cat")
				cmd.Env = run.Env
				cmd.Args = append(append(cmd.Args, "sh"), run.Args...)
				e.MustRun(tb, cmd)
			}))
		})
		c.peak = true
		through = append(through, c)
	}
	l.interleave("logs", "lines into the log", "MB/s", l.reps(2), into...)
	l.interleave("logs", "logs", "MB/s", l.reps(2), out...)
	l.interleave("logs", "run -i cat", "MB/s", l.reps(3), through...)
}

func lines(tb testing.TB, e *engine.Engine) string {
	tb.Helper()
	file := filepath.Join(e.Host.Dir, "lines")
	var text bytes.Buffer
	for i := 0; text.Len() < lineFile; i++ {
		fmt.Fprintf(&text, "%09d the quick brown fox jumps over the lazy dog, and the dog does not even look up from its sleep.\n", i)
	}
	if err := os.WriteFile(file, text.Bytes()[:lineFile], 0o644); err != nil {
		tb.Fatal(err)
	}
	return file
}

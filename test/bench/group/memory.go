package group

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/measure"
	"github.com/strakehq/strake/test/bench/stage"
)

// memory is what an engine needs when it has nothing to do, and for each
// container that runs.
func memory(l *Lab, tb *stage.TB) {
	measureMemory(l, tb, engine.StartPlainStrake(tb, "idle", l.Images), "strake", l.size(50, 10))
	for _, e := range l.withDaemon() {
		measureMemory(l, tb, e, e.Name, l.size(20, 5))
	}
	if dir := combinedBuild(l, tb); dir != "" {
		own := os.Getenv("STRAKE_BIN")
		if err := os.Setenv("STRAKE_BIN", dir); err != nil {
			tb.Fatal(err)
		}
		defer os.Setenv("STRAKE_BIN", own)
		e := engine.StartPlainStrake(tb, "combined", l.Images)
		measureMemory(l, tb, e, "strake, combined build", l.size(50, 10))
	}
}

func measureMemory(l *Lab, tb *stage.TB, e *engine.Engine, name string, containers int) {
	if _, err := e.Restart(); err != nil {
		tb.Fatal(err)
	}
	time.Sleep(2 * time.Second) // what a daemon does after its first answer
	idle := measure.MemoryOf(e.Processes())
	l.note("memory", "idle", name, "MiB", idle.PSS)
	l.note("memory", "idle, anonymous", name, "MiB", idle.Anon)
	l.have(tb, busybox, e)
	var ids []string
	defer func() {
		for _, id := range ids {
			e.Must(tb, "rm", "-f", id)
		}
	}()
	for range containers {
		ids = append(ids, e.Must(tb, "run", "-d", busybox, "sleep", "100000"))
		if len(ids) == 1 { // what the first one makes stay is not every container's
			quiet(tb, e, 40)
			idle = measure.MemoryOf(e.Processes())
		}
	}
	quiet(tb, e, 40)
	full := measure.MemoryOf(e.Processes())
	l.note("memory", "per running container", name, "MiB", (full.PSS-idle.PSS)/float64(containers-1))
	l.note("memory", "with running containers", name, "MiB", full.PSS)
}

// combinedBuild makes the one-file build, where the Makefile knows it, and
// returns its directory.
func combinedBuild(l *Lab, tb testing.TB) string {
	tb.Helper()
	makefile, err := os.ReadFile(filepath.Join(l.Root, "Makefile"))
	if err != nil || !bytes.Contains(makefile, []byte("COMBINED")) {
		return ""
	}
	dir := filepath.Join(l.Root, ".build", "bench-combined")
	cmd := exec.Command("make", "build", "COMBINED=1", "BIN="+dir)
	cmd.Dir = l.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("make build COMBINED=1: %v: %s", err, out)
	}
	return dir
}

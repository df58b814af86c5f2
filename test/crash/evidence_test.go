package crash

import (
	"os"
	"os/exec"
	"path/filepath"
)

// keepEvidence copies what a host's drivers and shims wrote to where it outlives
// the test.
func (w *world) keepEvidence() {
	w.t.Helper()
	to, err := os.MkdirTemp("", "strake-crash-evidence-")
	if err != nil {
		w.t.Error(err)
		return
	}
	for _, from := range []string{"run/drivers", "run/network", "state/containers", "straked.log"} {
		cp := exec.Command("cp", "-a", "--parents", from, to)
		cp.Dir = w.h.Dir
		if out, err := cp.CombinedOutput(); err != nil { // some of it ends meanwhile
			w.t.Logf("evidence: %v: %s", err, out)
		}
	}
	w.t.Logf("evidence is kept in %s", filepath.Clean(to))
}

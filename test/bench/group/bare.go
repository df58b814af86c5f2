package group

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strakehq/strake/test/bench/engine"
)

// bare is an OCI runtime without any engine, with the specification that Strake
// makes: the floor.
type bare struct {
	engine  *engine.Engine
	runtime string
	dir     string
	spec    map[string]any
	n       int
}

// newBare copies the specification of a container of Strake that runs, and has
// its image as a plain directory. The container stays, for files that the
// specification mounts are its.
func newBare(tb testing.TB, e *engine.Engine, runtime, image string, args ...string) *bare {
	tb.Helper()
	b := &bare{engine: e, runtime: runtime, dir: filepath.Join(e.Host.Dir, "bare-"+runtime+"-"+filepath.Base(image))}
	rootfs := filepath.Join(b.dir, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		tb.Fatal(err)
	}
	donor := e.Must(tb, "run", "-d", "--network", "none", image, "sleep", "100000")
	tb.Cleanup(func() {
		e.Must(tb, "rm", "-f", donor)
		if err := os.RemoveAll(b.dir); err != nil {
			tb.Error(err)
		}
	})
	pid := e.Must(tb, "inspect", "--format", "{{.State.Pid}}", donor)
	e.MustRun(tb, e.Host.Command("cp", "-a", "-x", "/proc/"+pid+"/root/.", rootfs))
	spec := map[string]any{}
	text, err := os.ReadFile(filepath.Join(e.Host.Dir, "state", "containers", donor, "config.json"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		tb.Fatal(err)
	}
	spec["root"] = map[string]any{"path": rootfs}
	at(spec, "process")["args"] = args
	at(spec, "process")["terminal"] = false
	at(spec, "linux")["cgroupsPath"] = e.CG.Path + "/containers/bare"
	b.spec = spec
	b.joins(tb, "")
	return b
}

func at(m map[string]any, key string) map[string]any {
	sub, _ := m[key].(map[string]any)
	return sub
}

// joins has the container live in a network namespace that is there; empty: in
// one of its own.
func (b *bare) joins(tb testing.TB, netns string) {
	tb.Helper()
	list, _ := at(b.spec, "linux")["namespaces"].([]any)
	for _, n := range list {
		if n, ok := n.(map[string]any); ok && n["type"] == "network" {
			delete(n, "path")
			if netns != "" {
				n["path"] = netns
			}
		}
	}
	text, err := json.Marshal(b.spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "config.json"), text, 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func (b *bare) command(args ...string) *exec.Cmd {
	return b.engine.Host.Command(b.runtime, append([]string{"--root", filepath.Join(b.dir, "root")}, args...)...)
}

// run is how long "runc run" takes.
func (b *bare) run(tb testing.TB) float64 {
	b.n++
	return engine.Millis(func() {
		b.engine.MustRun(tb, b.command("run", "--bundle", b.dir, fmt.Sprintf("bare%d", b.n)))
	})
}

package engine

import (
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// Configurations. A runtime of its own name is one driver more.
const (
	plain    = "log_level = \"info\"\n"
	withCrun = plain + "[runtimes.crun]\ndriver = \"runc\"\n[runtimes.crun.options]\nbinary = \"crun\"\n"
)

// Strake is a daemon, and the ways of asking it.
type Strake struct {
	Runc, Crun, ByDocker *Engine
}

// All are the ways.
func (s *Strake) All() []*Engine { return []*Engine{s.Runc, s.Crun, s.ByDocker} }

// StartStrake starts one with drivers for both runtimes.
func StartStrake(tb testing.TB, name, imagesDir string) *Strake {
	tb.Helper()
	return startStrake(tb, name, imagesDir, withCrun)
}

// StartPlainStrake starts one with the four drivers that it has unless told
// otherwise.
func StartPlainStrake(tb testing.TB, name, imagesDir string) *Engine {
	tb.Helper()
	return startStrake(tb, name, imagesDir, plain).Runc
}

func startStrake(tb testing.TB, name, imagesDir, config string) *Strake {
	tb.Helper()
	h, cg := newHost(tb, name, imagesDir, testkit.WithCrun(), testkit.WithConfig(config))
	h.Start()
	start := func() error { return errors.Join(h.TryStart(), ready(h)) }
	stop := func() error { h.Stop(); return nil }
	by := func(program string) func(args ...string) *exec.Cmd {
		return func(args ...string) *exec.Cmd { return h.Command(program, args...) }
	}
	return &Strake{
		Runc: &Engine{Name: "strake", Host: h, CG: cg, Socket: h.Socket, command: by(testkit.Bin("strake")), start: start, stop: stop},
		Crun: &Engine{
			Name: "strake, crun", Host: h, CG: cg, Socket: h.Socket, RunArgs: []string{"--runtime", "crun"},
			command: by(testkit.Bin("strake")), start: start, stop: stop,
		},
		ByDocker: &Engine{Name: "strake by docker CLI", Host: h, CG: cg, Socket: h.Socket, command: by(dockerCLI()), start: start, stop: stop},
	}
}

// ready waits until all drivers are.
func ready(h *testkit.Host) error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		resp, err := h.API().Get("http://strake/strake/v1/drivers")
		if err != nil {
			return err
		}
		var list []struct{ Status string }
		err = json.NewDecoder(resp.Body).Decode(&list)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list, func(d struct{ Status string }) bool { return d.Status != "ready" }) {
			return nil
		}
	}
	return errors.New("strake: drivers do not become ready")
}

// dockerCLI is the one that Debian's docker.io brings, as the peer uses it too.
func dockerCLI() string {
	if p, err := exec.LookPath("/usr/bin/docker"); err == nil {
		return p
	}
	return testkit.DockerCLI()
}

package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/storage"
	"github.com/strakehq/strake/sdk/trace"
)

func TestErrorsCrossWithClassAndMessage(t *testing.T) {
	p, s := launch(t, "full")
	_, err := prepare(t, s, "conflict")
	if !errdefs.IsConflict(err) || err.Error() != "snapshot conflict: conflict (stop it first)" {
		t.Error(err)
	}
	if _, err = prepare(t, s, "unavailable"); !errdefs.IsUnavailable(err) || errors.Is(err, plugin.ErrLost) {
		t.Errorf("a driver's own word: %v", err)
	}
	if _, err = prepare(t, s, "panic"); !errdefs.IsInternal(err) || !strings.Contains(err.Error(), "boom") {
		t.Error(err)
	}
	if _, err := p.Driver().Info(t.Context()); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestAStreamsErrorIsThatOfWhomItBefell(t *testing.T) {
	_, s := launch(t, "full")
	a, d := s.(storage.Applier), s.(storage.Differ)
	if _, err := a.Apply(t.Context(), "refuse", bytes.NewReader(make([]byte, 5<<20))); !errdefs.IsDataLoss(err) {
		t.Errorf("the driver's: %v", err)
	}
	src := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := a.Apply(t.Context(), "k", src); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the source's: %v", err)
	}
	if err := d.Diff(t.Context(), "half", io.Discard); !errdefs.IsDataLoss(err) {
		t.Errorf("the driver's: %v", err)
	}
}

func TestACallWithoutADeadlineGetsOne(t *testing.T) {
	c := launchConfig(t, "full")
	c.Timeouts.Short = 50 * time.Millisecond
	p, err := plugin.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	s, _ := p.Storage()
	if _, err := prepare(t, s, "hang"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestCancellationReachesTheDriver(t *testing.T) {
	_, s := launch(t, "full")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := s.Prepare(ctx, "hang", "", storage.PrepareOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestHealthIsWatchedUntilTheContextEnds(t *testing.T) {
	p, _ := launch(t, "full")
	ctx, cancel := context.WithCancel(t.Context())
	err := p.Driver().WatchHealth(ctx, func(h driver.Health) {
		if h.Status == driver.Ready {
			cancel()
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAWatchEndsWithItsDriver(t *testing.T) {
	p, _ := launch(t, "full")
	err := p.Driver().WatchHealth(t.Context(), func(driver.Health) { go p.Kill() })
	if !errors.Is(err, plugin.ErrLost) {
		t.Error(err)
	}
}

func TestADriverWithoutAnOptionalInterfaceShowsNone(t *testing.T) {
	_, s := launch(t, "bare")
	if _, ok := s.(storage.Applier); ok {
		t.Error("Applier")
	}
	if _, ok := s.(storage.Differ); ok {
		t.Error("Differ")
	}
}

func TestSpansComeBackFromTheDriver(t *testing.T) {
	p, s := launch(t, "full")
	rec := &trace.Recorder{}
	id, parent := trace.NewParent()
	ctx, _ := trace.Into(t.Context(), rec, parent)
	if _, err := s.Prepare(ctx, "trace", "", storage.PrepareOptions{}); err != nil {
		t.Fatal(err)
	}
	spans := rec.Spans()
	if len(spans) != 2 {
		t.Fatalf("%+v", spans)
	}
	inner, call := spans[0], spans[1]
	if call.Name != "storage.Prepare" || call.TraceID != id || call.Pid != p.Pid() || call.Parent != strings.Split(parent, "-")[2] {
		t.Errorf("%+v", call)
	}
	if inner.Parent != call.SpanID || inner.Err != "inner failed" || inner.Attrs["k"] != "v" {
		t.Errorf("%+v", inner)
	}
	if _, err := prepare(t, s, "k"); err != nil || len(rec.Spans()) != 2 {
		t.Error("a call outside of the trace is recorded")
	}
}

// script writes a program that is not quite a driver.
func script(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "strake-storage-x")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLaunchErrorsSayWhatIsWrong(t *testing.T) {
	good := func(as string) func(*plugin.LaunchConfig) {
		return func(c *plugin.LaunchConfig) { c.Env = []string{actAs + "=" + as} }
	}
	path := func(text string) func(*plugin.LaunchConfig) {
		return func(c *plugin.LaunchConfig) { c.Path = script(t, text) }
	}
	mode := func(m os.FileMode) func(*plugin.LaunchConfig) {
		return func(c *plugin.LaunchConfig) {
			path("exit 0")(c)
			os.Chmod(c.Path, m)
		}
	}
	for _, c := range []struct {
		name  string
		set   func(*plugin.LaunchConfig)
		class error
		says  string
	}{
		{"it does not exist", func(c *plugin.LaunchConfig) { c.Path = "/none" }, errdefs.ErrNotFound, "does not exist"},
		{"others may write it", mode(0o777), errdefs.ErrPermissionDenied, "chmod go-w"},
		{"it is not executable", mode(0o644), errdefs.ErrPermissionDenied, "chmod +x"},
		{"somebody else owns it", func(c *plugin.LaunchConfig) { path("")(c); os.Chown(c.Path, 1, 1) }, errdefs.ErrPermissionDenied, "chown root"},
		{"its directory is everybody's", func(c *plugin.LaunchConfig) { path("")(c); os.Chmod(filepath.Dir(c.Path), 0o777) }, errdefs.ErrPermissionDenied, "chmod o-w"},
		{"it has another digest", func(c *plugin.LaunchConfig) { path("")(c); c.SHA256 = "00" }, errdefs.ErrPermissionDenied, "the configuration says 00"},
		{"it dies at its start", good("dies"), errdefs.ErrUnavailable, "cannot find the flux capacitor"},
		{"it dies, and says why", good("dies"), errdefs.ErrUnavailable, "exit status 3"},
		{"it says nothing", func(c *plugin.LaunchConfig) { good("mute")(c); c.StartTimeout = 50 * time.Millisecond }, context.DeadlineExceeded, "no answer"},
		{"it is of another kind", func(c *plugin.LaunchConfig) { c.Kind = driver.Network }, errdefs.ErrInvalidArgument, `it is the storage driver "fake", not a network driver`},
		{"its contract is too new", path(`echo "1|2|unix|/x|grpc"; sleep 1`), errdefs.ErrFailedPrecondition, "upgrade Strake"},
		{"its contract is too old", path(`echo "1|0|unix|/x|grpc"; sleep 1`), errdefs.ErrFailedPrecondition, "upgrade the driver"},
		{"it is no driver", path(`echo hello; sleep 1`), nil, "hello"},
		{"it speaks net/rpc", path(`echo "1|1|unix|/x|netrpc"; sleep 1`), nil, "unsupported plugin protocol"},
		{"it refuses its configuration", func(c *plugin.LaunchConfig) { c.Config.Options = []byte(`"bad"`) }, errdefs.ErrInvalidArgument, "option x"},
		{"the socket directory is open", func(c *plugin.LaunchConfig) { c.SocketDir = "/tmp" }, errdefs.ErrPermissionDenied, "chmod 0700"},
		{"the socket directory is long", func(c *plugin.LaunchConfig) { c.SocketDir += "/" + strings.Repeat("x", 100) }, errdefs.ErrInvalidArgument, "shorter run directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := launchConfig(t, "full")
			c.set(&conf)
			p, err := plugin.Launch(t.Context(), conf)
			if err == nil {
				p.Kill()
				t.Fatal("it was launched")
			}
			if c.class != nil && !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if left, _ := filepath.Glob(conf.SocketDir + "/l-*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestInProcessIsTheSameButForTheProcess(t *testing.T) {
	c := launchConfig(t, "")
	p, err := plugin.InProcess(t.Context(), &fake{}, c.SocketDir)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := p.Storage()
	if _, err := prepare(t, s, "conflict"); !errdefs.IsConflict(err) {
		t.Error(err)
	}
	a, err := s.(storage.Applier).Apply(t.Context(), "k", strings.NewReader("layer"))
	if err != nil || a.Bytes != 5 {
		t.Error(a, err)
	}
	p.Kill()
	if left, _ := os.ReadDir(c.SocketDir); len(left) > 0 {
		t.Error(left)
	}
}

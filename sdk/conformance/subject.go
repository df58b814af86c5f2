package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/options"
	"github.com/strakehq/strake/sdk/plugin"
)

// Subject gives a suite its driver of contract type D.
type Subject[D any] struct {
	// Driver returns a configured driver. It is called before every use that
	// may follow a Kill.
	Driver func() D
	// Kill ends the driver's process with SIGKILL and has a new one launched
	// and configured alike; nil when the driver is no process, or is not to
	// be killed.
	Kill func() error
	// Fresh makes another driver that is not configured, and a function that
	// ends it. nil when that cannot be done.
	Fresh func(ctx context.Context) (D, func(), error)
	// Config is how Driver is configured.
	Config driver.Config
	// Close ends the driver. May be nil.
	Close func()
}

// Crash kills the driver if that can be done, and returns the driver to go on
// with.
func (s Subject[D]) Crash(t *T) D {
	if s.Kill != nil {
		t.NoError(s.Kill(), "kill and relaunch the driver")
	}
	return s.Driver()
}

// Direct makes a subject of a Go value. make returns a driver that is not
// configured.
func Direct[D driver.Driver](ctx context.Context, make func() D, c driver.Config) (Subject[D], error) {
	d := make()
	if err := d.Configure(ctx, c); err != nil {
		return Subject[D]{}, err
	}
	return Subject[D]{
		Driver: func() D { return d },
		Fresh:  func(context.Context) (D, func(), error) { return make(), func() {}, nil },
		Config: c,
		Close:  func() { _ = d.Shutdown(context.WithoutCancel(ctx)) }, // a Go value has no process to end
	}, nil
}

// InProcess makes a subject of a Go value behind gRPC over a unix socket, as it
// runs behind a process boundary.
func InProcess[D driver.Driver](ctx context.Context, make func() D, c driver.Config) (Subject[D], error) {
	open := func(ctx context.Context) (*plugin.Client, error) {
		return plugin.InProcess(ctx, make(), socketDir(c))
	}
	return remote[D](ctx, open, c, false)
}

// Binary makes a subject of a driver's binary. Without kills its process lives
// as long as the subject.
func Binary[D driver.Driver](ctx context.Context, b BinaryConfig) (Subject[D], error) {
	if b.Logger == nil {
		b.Logger = hclog.NewNullLogger()
	}
	open := func(ctx context.Context) (*plugin.Client, error) {
		return plugin.Launch(ctx, plugin.LaunchConfig{
			Path: b.Path, Env: b.Env, SocketDir: socketDir(b.Config), LogPath: b.LogPath, Logger: b.Logger,
		})
	}
	return remote[D](ctx, open, b.Config, b.Kills)
}

// BinaryConfig says how Binary launches a driver.
type BinaryConfig struct {
	Path   string
	Config driver.Config
	// Kills lets the suite kill the driver between calls.
	Kills bool
	// Env is added to the clean environment.
	Env []string
	// LogPath is where the driver's log goes; empty: to Logger.
	LogPath string
	Logger  hclog.Logger
}

// socketDir is beside the driver's own directory.
func socketDir(c driver.Config) string { return filepath.Join(filepath.Dir(c.RunDir), "sock") }

// process is the driver that a subject has at the moment.
type process[D driver.Driver] struct {
	ctx  context.Context //nolint:containedctx // relaunches belong to the subject's context
	open func(context.Context) (*plugin.Client, error)
	conf driver.Config

	mu     sync.Mutex
	client *plugin.Client // guarded by mu
	driver D              // guarded by mu
}

func remote[D driver.Driver](ctx context.Context, open func(context.Context) (*plugin.Client, error), c driver.Config, kills bool) (Subject[D], error) {
	p := &process[D]{ctx: ctx, open: open, conf: c}
	if err := p.launch(); err != nil {
		return Subject[D]{}, err
	}
	s := Subject[D]{Driver: p.get, Fresh: p.fresh, Config: c, Close: p.close}
	if kills {
		s.Kill = func() error {
			p.close()
			return p.launch()
		}
	}
	return s, nil
}

func (p *process[D]) start(ctx context.Context) (*plugin.Client, D, error) {
	c, err := p.open(ctx)
	if err != nil {
		var none D
		return nil, none, err
	}
	d, ok := c.Driver().(D)
	if !ok {
		c.Kill()
		return nil, d, fmt.Errorf("%s is a %s driver: %w", c.Info().Name, c.Info().Kind, errdefs.ErrInvalidArgument)
	}
	return c, d, nil
}

func (p *process[D]) fresh(ctx context.Context) (D, func(), error) {
	c, d, err := p.start(ctx)
	if err != nil {
		return d, nil, err
	}
	return d, c.Kill, nil
}

func (p *process[D]) launch() error {
	c, d, err := p.start(p.ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(options.Check(c.Info().OptionsSchema, p.conf.Options), d.Configure(p.ctx, p.conf)); err != nil {
		c.Kill()
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.client, p.driver = c, d
	return nil
}

func (p *process[D]) get() D {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.driver
}

func (p *process[D]) close() {
	p.mu.Lock()
	c := p.client
	p.client = nil
	p.mu.Unlock()
	if c != nil {
		c.Kill()
	}
}

// TestConfig makes a configuration with directories of its own, whose paths are
// short enough for sockets.
func TestConfig(t testing.TB, opts string) driver.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "sc-") //nolint:usetesting // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	c := driver.Config{Options: []byte(opts), StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run")}
	if err := errors.Join(os.Mkdir(c.StateDir, 0o700), os.Mkdir(c.RunDir, 0o700)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Build compiles a driver's main package for a test and returns the binary's
// path.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "driver")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// Opened registers the end of a subject with the test, and fails it when there
// is none.
func Opened[D any](t testing.TB, s Subject[D], err error) Subject[D] {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if s.Close != nil {
		t.Cleanup(s.Close)
	}
	return s
}

package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/options"
	"github.com/strakehq/strake/sdk/plugin"
)

// process is one process of a driver, launched and configured.
type process struct {
	in     *instance
	client *plugin.Client
	driver driver.Driver
	duty   *duty
}

// epitaph says how a process ended.
func (p *process) epitaph() error {
	select {
	case <-p.client.Dead():
		return fmt.Errorf("its process %d ended (%s), its log is %s: %w", p.client.Pid(), p.client.Outcome(), p.in.logPath(), errdefs.ErrUnavailable)
	default:
		return fmt.Errorf("the connection to its process %d broke: %w", p.client.Pid(), errdefs.ErrUnavailable)
	}
}

// launch starts and configures one process.
func (in *instance) launch(ctx context.Context) (*process, error) {
	c := in.settings()
	path, err := find(in.spec, c, in.host.config.SearchDirs())
	if err != nil {
		return nil, configError{err}
	}
	raw, err := in.spec.options(c)
	if err != nil {
		return nil, configError{err}
	}
	if err := in.boundLog(); err != nil {
		return nil, err
	}
	// One that hangs while it is configured must not keep the daemon from
	// starting.
	ctx, cancel := context.WithTimeout(ctx, in.host.timing.launch+in.host.timing.configure)
	defer cancel()
	client, err := plugin.Launch(ctx, plugin.LaunchConfig{
		Path: path, SHA256: c.SHA256, Kind: in.spec.kind,
		SocketDir: in.host.socketDir(), LogPath: in.logPath(), Logger: in.log, StartTimeout: in.host.timing.launch,
		Timeouts: plugin.Timeouts{Short: quickCall, Long: slowCall},
		Config: &driver.Config{
			Options: raw, StateDir: in.stateDir(), RunDir: in.runDir(), Libexec: libexec(in.host.config.SearchDirs()),
		},
		CheckOptions: options.Check,
	})
	if err != nil {
		return nil, in.explain(err)
	}
	if err := in.checkName(client.Info()); err != nil {
		client.Kill()
		return nil, configError{err}
	}
	in.set(func(s *state) { s.info, s.path, s.pid, s.started = client.Info(), path, client.Pid(), time.Now() })
	return &process{in, client, client.Driver(), newDuty()}, nil
}

// explain tells what a look at the configuration can mend from the rest.
func (in *instance) explain(err error) error {
	err = fmt.Errorf("%s (in [%s]): %w", in.spec, in.spec.key, err)
	if errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err) || errdefs.IsPermissionDenied(err) {
		return configError{err}
	}
	return err
}

func (in *instance) checkName(i driver.Info) error {
	if want := in.settings().Driver; want != "" && i.Name != want {
		return fmt.Errorf("%s (in [%s]): the binary says that it is %q: name that as driver: %w", in.spec, in.spec.key, i.Name, errdefs.ErrInvalidArgument)
	}
	return nil
}

// prepareDirs makes the directories of all drivers.
func (h *Host) prepareDirs() error {
	for _, in := range h.instances {
		for _, d := range []string{in.stateDir(), in.runDir()} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				return fmt.Errorf("%s: %w", in.spec, err)
			}
		}
	}
	return nil
}

func (h *Host) socketDir() string { return filepath.Join(h.config.RunDir, "plug") }

func (in *instance) stateDir() string {
	return filepath.Join(in.host.config.StateDir, "drivers", string(in.spec.kind)+"-"+in.spec.name)
}

func (in *instance) runDir() string {
	return filepath.Join(in.host.config.RunDir, "drivers", string(in.spec.kind)+"-"+in.spec.name)
}

// logPath is beside the driver's own directory, not in it.
func (in *instance) logPath() string { return in.runDir() + ".log" }

// maxLog bounds a driver's log, in bytes: it lies in memory where the run
// directory does.
const maxLog = 8 << 20

// boundLog empties a log that has grown too large. The driver appends to it, so
// it goes on at the beginning.
func (in *instance) boundLog() error {
	fi, err := os.Stat(in.logPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: log: %w", in.spec, err)
	}
	if fi.Size() < maxLog {
		return nil
	}
	in.log.Info("driver's log is emptied: it reached its bound", "driver", in.spec.name, "path", in.logPath(), "bytes", fi.Size())
	return os.Truncate(in.logPath(), 0)
}

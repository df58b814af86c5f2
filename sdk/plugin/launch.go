package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/internal/rpcerr"
)

// LaunchConfig says which driver to launch, and how.
type LaunchConfig struct {
	// Path of the binary. It must be owned by root, or by the host's user,
	// and not be writable by others.
	Path string
	// Args are given to the binary.
	Args []string
	// Env is added to the clean environment, "NAME=value".
	Env []string
	// SHA256 is the binary's digest in hexadecimal, checked when not empty.
	SHA256 string
	// Kind is the contract that is wanted. Empty: any.
	Kind driver.Kind
	// SocketDir is a private directory, made if need be, that several hosts
	// and drivers may share. What dead hosts left there is swept. Its path
	// may have up to 60 bytes.
	SocketDir string
	// LogPath is a file to which the driver's log is appended. Empty: its
	// lines go to Logger.
	LogPath string
	// Logger is the host's log. The driver gets its level.
	Logger hclog.Logger
	// StartTimeout bounds the launch until the driver has said who it is;
	// Configure has ctx's deadline or that of a long call.
	// Default 10 seconds.
	StartTimeout time.Duration
	// Timeouts of calls.
	Timeouts Timeouts
	// Config, when not nil, is handed to Configure as part of the launch.
	Config *driver.Config
	// CheckOptions, when not nil, is called before Configure; package
	// sdk/options has one.
	CheckOptions func(schema, options json.RawMessage) error
}

// Launch starts a driver and returns when it has answered, with the right
// contract and kind, and is configured if Config is set. When it fails, nothing
// is left: no process, no socket. Errors name the binary and show the last
// lines of its log.
func Launch(ctx context.Context, c LaunchConfig) (*Client, error) {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if err := checkBinary(c.Path, c.SHA256); err != nil {
		return nil, err
	}
	dir, err := newSocketDir(c.SocketDir)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", c.Path, err)
	}
	l := &launch{LaunchConfig: c, dir: dir, log: newTail(c.LogPath), started: make(chan *process, 1)}
	client, err := l.run(ctx)
	if err != nil {
		err = l.explain(err)
		l.kill() //nolint:contextcheck // what is left must go, whatever became of ctx
		return nil, err
	}
	return client, nil
}

// launch is a launch under way and, later, what is to be undone.
type launch struct {
	LaunchConfig
	dir *socketDir
	log *tail
	// started receives the process once it runs.
	started chan *process
	proc    *process
	plugin  *goplugin.Client
	once    sync.Once
}

func (l *launch) run(ctx context.Context) (*Client, error) {
	dead := make(chan struct{})
	l.plugin = l.newPlugin(dead)
	info, d, err := l.meet(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.configure(ctx, info, d); err != nil {
		return nil, err
	}
	return &Client{
		info: info, pid: l.proc.cmd.Process.Pid, driver: d, dead: dead, kill: l.kill, outcome: l.proc.outcome,
		stop: func(ctx context.Context) error { return shutdown(ctx, d, l.proc) },
	}, nil
}

// meet starts the process and finds out who it is, within StartTimeout.
func (l *launch) meet(ctx context.Context) (driver.Info, driver.Driver, error) {
	ctx, cancel := context.WithTimeout(ctx, orDefault(l.StartTimeout, 10*time.Second))
	defer cancel()
	cc, err := l.dial(ctx)
	if err != nil {
		return driver.Info{}, nil, err
	}
	info, d, err := connect(ctx, cc, l.dir.path)
	if err != nil {
		return driver.Info{}, nil, err
	}
	return info, d, l.checkKind(info)
}

func (l *launch) newPlugin(dead chan struct{}) *goplugin.Client {
	link := rpcerr.Link{Name: "driver " + filepath.Base(l.Path), Dead: dead}
	return goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshakeConfig(),
		VersionedPlugins: pluginSets(&grpcPlugin{}),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true,
		// A directory of go-plugin's own is made, and stays empty.
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: l.dir.path},
		StartTimeout:     time.Hour, // meet bounds it
		Logger:           quiet(l.Logger),
		Stderr:           l.log,
		GRPCDialOptions:  dialOptions(link, l.Timeouts),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			p := newProcess(l.LaunchConfig, l.dir.path, cmd.Env)
			if err := p.start(l.LogPath); err != nil {
				return nil, err
			}
			go func() {
				<-p.exited
				close(dead)
			}()
			l.started <- p
			return p, nil
		},
	})
}

// dial starts the process and returns the connection. go-plugin's Client knows
// no context: when ctx ends, the process is killed, which ends Client.
func (l *launch) dial(ctx context.Context) (*grpc.ClientConn, error) {
	var cc any
	done := make(chan error, 1)
	go func() {
		protocol, err := l.plugin.Client()
		if err == nil {
			cc, err = protocol.Dispense(pluginName)
		}
		done <- err
	}()
	var err error
	select {
	case l.proc = <-l.started:
		err = l.await(ctx, done)
	case err = <-done: // it could not be started
	}
	if err != nil {
		return nil, err
	}
	conn, ok := cc.(*grpc.ClientConn)
	if !ok {
		return nil, fmt.Errorf("go-plugin dispensed a %T: %w", cc, errdefs.ErrInternal)
	}
	return conn, nil
}

func (l *launch) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		err := fmt.Errorf("no answer: %w", context.Cause(ctx))
		if killErr := l.proc.Kill(ctx); killErr != nil {
			return errors.Join(err, killErr)
		}
		if <-done == nil {
			l.Logger.Debug("driver answered too late", "driver", l.Path)
		}
		return err
	}
}

func (l *launch) checkKind(info driver.Info) error {
	if l.Kind == "" || l.Kind == info.Kind {
		return nil
	}
	return fmt.Errorf("it is the %s driver %q, not a %s driver: name it under [%s], or another one here: %w",
		info.Kind, info.Name, l.Kind, info.Kind, errdefs.ErrInvalidArgument)
}

func (l *launch) configure(ctx context.Context, info driver.Info, d driver.Driver) error {
	if l.Config == nil {
		return nil
	}
	if l.CheckOptions != nil {
		if err := l.CheckOptions(info.OptionsSchema, l.Config.Options); err != nil {
			return err
		}
	}
	return d.Configure(ctx, *l.Config)
}

// explain says which driver failed to start, and shows what it said.
func (l *launch) explain(err error) error {
	if l.proc != nil {
		if wrong := checkHandshake(l.proc.firstLine()); wrong != nil {
			return fmt.Errorf("driver %s: %w", l.Path, wrong)
		}
		if l.diedMute(err) {
			err = fmt.Errorf("it ended at its start (%s): %w", l.proc.outcome(), errdefs.ErrUnavailable)
		}
	}
	if lines := l.log.last(); lines != "" {
		return fmt.Errorf("driver %s: %w; its log ends with:\n%s", l.Path, err, lines)
	}
	return fmt.Errorf("driver %s: %w", l.Path, err)
}

// diedMute says that the process ended without a handshake.
func (l *launch) diedMute(err error) bool {
	if l.proc.firstLine() != "" || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	<-l.proc.exited // soon: it closed its standard output
	return true
}

// kill ends the process, if there is one, and removes the sockets.
func (l *launch) kill() {
	l.once.Do(func() {
		if l.proc != nil {
			// First: go-plugin would ask in a way that a hung driver never
			// answers.
			if err := l.proc.Kill(context.Background()); err != nil {
				l.Logger.Error("driver cannot be killed", "pid", strconv.Itoa(l.proc.cmd.Process.Pid), "err", err)
			}
			<-l.proc.exited
		}
		l.plugin.Kill()
		if err := l.dir.remove(); err != nil {
			l.Logger.Error("sockets stay behind", "driver", l.Path, "err", err)
		}
	})
}

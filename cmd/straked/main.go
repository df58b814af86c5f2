// Command straked is Strake's daemon. It reads the configuration, starts the
// engine (core/engine) and serves the Docker Engine API until it is told to
// end. Containers run on without it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/core/engine"
	"github.com/strakehq/strake/sdk/sysmon"
	"github.com/strakehq/strake/sdk/version"
)

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "straked: %v\n", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "straked",
		Short: "The daemon of the Strake container engine",
		Long: `The daemon of the Strake container engine.

Every flag has an environment variable, STRAKED_LOG_LEVEL for --log-level; a flag
goes before its variable, and both go before the configuration file.

Signals: TERM and INT end the daemon in good order, a second one at once; HUP
re-reads the log level and relaunches drivers whose options changed; USR1 writes
the stacks of all goroutines to the log.`,
		Args: cobra.NoArgs, Version: version.Version, SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			c, err := o.load(cmd.Flags())
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), c, func() (*config.Config, error) { return o.load(cmd.Flags()) })
		},
	}
	cmd.SetContext(context.Background())
	o.register(cmd.Flags())
	return cmd
}

// run does what the flags ask for. reload reads the configuration again.
func (o *options) run(ctx context.Context, c *config.Config, reload func() (*config.Config, error)) (err error) {
	log, closeLog, err := newLogger(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	switch {
	case o.validate:
		return validate(ctx, c)
	case o.teardown:
		return engine.Teardown(ctx, c, log)
	}
	syscall.Umask(0o022)
	// Clients' credentials pass through: no core dump, whatever the host's limits.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("switch core dumps off: %w", err)
	}
	sysmon.Relax(time.Millisecond)
	// The daemon is mostly idle: a smaller heap costs it nothing that shows.
	debug.SetGCPercent(50)
	if o.pidFile != "" {
		if err := writePid(o.pidFile); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(o.pidFile)) }()
	}
	return o.serve(ctx, c, log, reload)
}

func (o *options) serve(ctx context.Context, c *config.Config, log hclog.Logger, reload func() (*config.Config, error)) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	// A client that went away must not kill the daemon.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running atomic.Pointer[engine.Engine] // nil until it is ready
	go handle(signals, log, stop, func() error {
		c, err := reload()
		if e := running.Load(); err == nil && e != nil {
			err = e.Reload(c)
		}
		return err
	})
	e, err := engine.New(ctx, c, log)
	if err != nil {
		return err
	}
	running.Store(e)
	tell(log, "READY=1")
	context.AfterFunc(ctx, func() { tell(log, "STOPPING=1") })
	return e.Run(ctx)
}

func tell(log hclog.Logger, state string) {
	if err := notify(state); err != nil {
		log.Warn("systemd is not told", "state", state, "err", err)
	}
}

// handle acts on signals. The second one that ends the daemon ends it at once.
func handle(signals <-chan os.Signal, log hclog.Logger, stop func(), reload func() error) {
	ending := false
	for s := range signals {
		switch s {
		case syscall.SIGUSR1:
			dumpStacks(log)
		case syscall.SIGHUP:
			if err := reload(); err != nil {
				log.Error("configuration is not taken over as a whole", "err", err)
				continue
			}
			log.Info("configuration re-read")
		default:
			if ending {
				log.Error("second signal: the daemon ends at once", "signal", s)
				os.Exit(1)
			}
			ending = true
			log.Info("the daemon ends", "signal", s)
			stop()
		}
	}
}

func newLogger(c *config.Config) (hclog.Logger, func() error, error) {
	out, done := os.Stderr, func() error { return nil }
	if c.LogFile != "" {
		f, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, nil, fmt.Errorf("log file: %w", err)
		}
		out, done = f, f.Close
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: "straked", Level: hclog.LevelFromString(c.LogLevel), Output: out,
		TimeFormat: time.RFC3339Nano, TimeFn: func() time.Time { return time.Now().UTC() },
	}), done, nil
}

func writePid(path string) error {
	if b, err := os.ReadFile(path); err == nil {
		if pid, err := strconv.Atoi(string(trim(b))); err == nil && pid != os.Getpid() && isStraked(pid) {
			return fmt.Errorf("pid file %s: straked runs already as pid %d", path, pid)
		}
	}
	return os.WriteFile(path, fmt.Appendln(nil, os.Getpid()), 0o644)
}

package plugin

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/sysmon"
)

// ServeConfig says what Serve serves.
type ServeConfig struct {
	// Driver implements one of the four contracts, and any of its optional
	// interfaces.
	Driver driver.Driver
	// Logger is the driver's log. NewLogger makes one with the host's level.
	Logger hclog.Logger
	// Survive keeps the process alive when the host is gone, until the next
	// one launches a driver. Drivers of the daemon are crash-only and die with
	// it.
	Survive bool
}

// Serve serves a driver until its host ends it or is gone, then it returns or
// exits. Call it from main, last.
func Serve(c ServeConfig) {
	sysmon.Relax(napSlack)
	if c.Logger == nil {
		c.Logger = NewLogger("")
	}
	if err := serve(c); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

// napSlack: drivers have processors to spare for a goroutine that could run.
const napSlack = time.Millisecond

// NewLogger returns a logger on standard error at the host's level.
func NewLogger(name string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: name, Output: os.Stderr,
		Level:      hclog.LevelFromString(os.Getenv(envLogLevel)),
		JSONFormat: os.Getenv(envLogFormat) == "json",
	})
}

func serve(c ServeConfig) error {
	contract, err := contractOf(c.Driver)
	if err != nil {
		return err
	}
	shake := handshakeConfig()
	if os.Getenv(shake.MagicCookieKey) != shake.MagicCookieValue {
		return errors.New("this is a " + string(contract.kind) + " driver of Strake: straked launches it; " +
			"name it in the configuration, or try it with strake-conformance")
	}
	// Credentials pass through a driver: no core dump, whatever the host's
	// limits are. The programs that it starts are not concerned.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("switch core dumps off: %w", err)
	}
	// A signal that somebody sends to the host's whole group is for the host
	// to act on. SIGPIPE would kill a driver that logs when its host is gone.
	// Notify instead of Ignore: an ignored signal is ignored by the programs
	// that the driver starts, too, and by the containers that they start.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	streams, err := takeStreams()
	if err != nil {
		return err
	}
	if !c.Survive {
		watchLifeline(streams.lifeline, c.Logger)
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  shake,
		VersionedPlugins: pluginSets(&grpcPlugin{contract: contract}),
		GRPCServer:       func([]grpc.ServerOption) *grpc.Server { return newServer(c.Logger, streams.restore) },
		Logger:           quiet(c.Logger),
	})
	return nil
}

// quiet is go-plugin's logger: its errors matter, its stories do not. It is not
// a child of l: hclog's children share their parent's level.
func quiet(l hclog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: l.Name() + ".go-plugin", Level: hclog.Error, Output: l.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		DisableTime: true,
	})
}

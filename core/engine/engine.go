// Package engine puts the daemon together: it is the one package that knows
// all others. New builds, starts and recovers in order, Run serves the API, and
// what was done is undone in reverse when the daemon ends. Containers run on.
//
//	lock the state directory
//	├─ launch all drivers, side by side   (core/driver)
//	└─ open the store and read all records (core/store, image, volume, network, container)
//	make or repair networks                (core/network)
//	take back containers that run          (core/container)
//	listen, and serve the API              (core/api)
//	restart policies, garbage collection   in the background
package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/moby/sys/user"

	"github.com/strakehq/strake/core/api"
	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/driver"
	"github.com/strakehq/strake/core/events"
	"github.com/strakehq/strake/core/image"
	"github.com/strakehq/strake/core/network"
	"github.com/strakehq/strake/core/spec"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/core/trace"
	"github.com/strakehq/strake/core/unpack"
	"github.com/strakehq/strake/core/volume"
	"github.com/strakehq/strake/sdk/footprint"
	"github.com/strakehq/strake/sdk/version"
)

// The program's pages are let go when the start is over, and when nothing was
// asked of the daemon for some time.
const (
	settled = time.Second
	rested  = time.Minute
)

// Engine is a daemon. Make one with New, then Run it once.
type Engine struct {
	config  *config.Config
	log     hclog.Logger
	machine spec.Machine
	ids     *user.IdentityMapping // nil: containers have no user namespaces

	bus        *events.Bus
	traces     *trace.Store
	drivers    *driver.Host
	store      *store.Store
	images     *image.Service
	volumes    *volume.Manager
	networks   *network.Manager
	containers *container.Manager

	handler   http.Handler
	listeners []net.Listener
	undo      []func() error // run in reverse by close
}

// New starts a daemon up to the point where it can answer. When it fails,
// nothing of it is left.
func New(ctx context.Context, c *config.Config, log hclog.Logger) (_ *Engine, err error) {
	began := time.Now()
	e := newEngine(c, log)
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	if err := e.start(ctx); err != nil {
		return nil, err
	}
	if err := e.recover(ctx); err != nil {
		return nil, err
	}
	if e.handler, err = e.api(); err != nil {
		return nil, err
	}
	if e.listeners, err = listen(ctx, c, log); err != nil {
		return nil, err
	}
	log.Info("ready", "version", version.Version, "hosts", c.APIHosts(), "took", time.Since(began).Round(time.Millisecond))
	return e, nil
}

func newEngine(c *config.Config, log hclog.Logger) *Engine {
	return &Engine{config: c, log: log, bus: &events.Bus{}, traces: trace.New()}
}

// onClose registers what undoes a step.
func (e *Engine) onClose(f func() error) { e.undo = append(e.undo, f) }

// close undoes all steps, the last first.
func (e *Engine) close() (err error) {
	for _, f := range slices.Backward(e.undo) {
		err = errors.Join(err, f())
	}
	e.undo = nil
	return err
}

// start launches the drivers while it opens the store and reads all records.
func (e *Engine) start(ctx context.Context) error {
	if err := os.MkdirAll(e.config.RunDir, 0o711); err != nil { // the API's socket is reached through it
		return err
	}
	l, err := takeLock(e.config.StateDir)
	if err != nil {
		return err
	}
	e.onClose(l.release)
	if err := e.remap(); err != nil {
		return err
	}
	e.drivers = driver.New(e.config, e.log.Named("driver"))
	launched := make(chan error, 1)
	go func() { launched <- e.drivers.Start(ctx) }()
	e.machine = spec.Detect()
	opened := e.open()
	if err := <-launched; err != nil {
		return errors.Join(err, opened)
	}
	e.undo = slices.Insert(e.undo, 1, func() error { // after all that may call a driver
		e.drivers.Close()
		return nil
	})
	return opened
}

// open opens what has records. Nothing of it calls a driver yet.
func (e *Engine) open() (err error) {
	state := e.config.StateDir
	if e.store, err = store.Open(filepath.Join(state, "strake.db"), migrations()); err != nil {
		return err
	}
	e.onClose(e.store.Close)
	log := e.log
	if e.images, err = image.Open(image.Config{
		Dir: state, Store: e.store, Drivers: e.drivers, Events: e.bus, Users: users{e}, Log: log,
		Unpack: unpack.Options{Limits: unpack.Limits{
			Layer: int64(e.config.Images.MaxLayerSize), Image: int64(e.config.Images.MaxImageSize), Expansion: e.config.Images.MaxLayerExpansion,
		}},
	}); err != nil {
		return err
	}
	vols := volume.Config{Store: e.store, Dir: filepath.Join(state, "volumes"), Events: e.bus}
	if e.ids != nil {
		vols.UID, vols.GID = e.ids.RootPair()
	}
	if e.volumes, err = volume.New(vols); err != nil {
		return err
	}
	if e.networks, err = network.New(network.Options{
		Log: log.Named("network"), Store: e.store, Drivers: e.drivers, Events: e.bus, RunDir: e.config.RunDir,
	}); err != nil {
		return err
	}
	e.onClose(e.networks.Close)
	if e.containers, err = container.New(e.containerConfig()); err != nil {
		return err
	}
	e.onClose(e.containers.Close)
	return nil
}

// migrations bring records of older daemons to the present form, in order.
func migrations() []store.Migration { return nil }

// Run serves the API until ctx ends, then ends the daemon in good order.
func (e *Engine) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, e.close()) }()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { e.images.Collector().Run(background) })
	defer work.Wait()
	defer stop()

	// Requests end when this context does: streams would keep the daemon
	// for ever.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := api.NewHTTPServer(e.handler, e.log.Named("http"))
	server.BaseContext = func(net.Listener) context.Context { return requests }
	rest := footprint.NewRest(settled, rested)
	server.ConnState = func(net.Conn, http.ConnState) { rest.Stir() }
	failed := make(chan error, len(e.listeners))
	for _, l := range e.listeners {
		work.Go(func() { failed <- server.Serve(l) })
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	return errors.Join(err, e.shutdown(context.WithoutCancel(ctx), server, cut))
}

// Reload takes over what can change while the daemon runs: the log level and
// the drivers' tables. The TLS files are read for each connection anyway.
func (e *Engine) Reload(c *config.Config) error {
	e.log.SetLevel(hclog.LevelFromString(c.LogLevel))
	return e.drivers.Reload(c)
}

// grace is how long requests have to end by themselves.
const grace = 500 * time.Millisecond

func (e *Engine) shutdown(ctx context.Context, server *http.Server, cut func()) error {
	bounded, cancel := context.WithTimeout(ctx, time.Duration(e.config.ShutdownTimeout))
	defer cancel()
	timer := time.AfterFunc(grace, cut)
	defer timer.Stop()
	err := server.Shutdown(bounded)
	if errors.Is(err, context.DeadlineExceeded) {
		e.log.Warn("requests are broken off: they did not end in time", "after", time.Duration(e.config.ShutdownTimeout))
		err = server.Close()
	}
	if e.config.StopContainersOnExit {
		err = errors.Join(err, e.stopContainers(ctx))
	}
	return err
}

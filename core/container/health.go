package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/core/api/stdcopy"
	"github.com/strakehq/strake/sdk/runtime"
)

// Docker's defaults.
const (
	healthInterval      = 30 * time.Second
	healthTimeout       = 30 * time.Second
	healthStartInterval = 5 * time.Second
	healthRetries       = 3
	healthLog           = 5
	healthOutput        = 4096
)

// startHealth begins the health checks of a run.
func (m *Manager) startHealth(u *unit, r record) {
	h := r.Config.Healthcheck
	cmd := healthCommand(r.Config)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.health = nil
	if cmd == nil {
		return
	}
	u.health = &container.Health{Status: container.Starting, Log: []*container.HealthcheckResult{}}
	ctx, cancel := context.WithCancel(m.ctx)
	u.stopHealth = cancel
	m.spawn(func(context.Context) { m.probe(ctx, u, h, cmd) })
}

func (u *unit) endHealth() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stopHealth != nil {
		u.stopHealth()
		u.stopHealth = nil
	}
}

// healthCommand is nil when there is nothing to check.
func healthCommand(c *container.Config) []string {
	if c.Healthcheck == nil || len(c.Healthcheck.Test) < 2 {
		return nil
	}
	switch test := c.Healthcheck.Test; test[0] {
	case "CMD":
		return test[1:]
	case "CMD-SHELL":
		shell := c.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		return append(append([]string{}, shell...), test[1])
	default:
		return nil
	}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func (m *Manager) probe(ctx context.Context, u *unit, h *container.HealthConfig, cmd []string) {
	begin := time.Now()
	for {
		pause := orDefault(h.Interval, healthInterval)
		starting := u.healthStatus() == container.Starting && time.Since(begin) < h.StartPeriod
		if starting {
			pause = min(pause, orDefault(h.StartInterval, healthStartInterval))
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		r := u.get()
		if r.Run.Status == container.StatePaused {
			continue
		}
		res := m.check(ctx, u, r, cmd, orDefault(h.Timeout, healthTimeout))
		if ctx.Err() != nil {
			return
		}
		m.record(u, h, res, time.Since(begin) < h.StartPeriod)
	}
}

func (u *unit) healthStatus() container.HealthStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.health == nil {
		return container.NoHealthcheck
	}
	return u.health.Status
}

// record counts a result and tells a change.
func (m *Manager) record(u *unit, h *container.HealthConfig, res *container.HealthcheckResult, startPeriod bool) {
	u.mu.Lock()
	if u.health == nil {
		u.mu.Unlock()
		return
	}
	was := u.health.Status
	retries := h.Retries
	if retries == 0 {
		retries = healthRetries
	}
	judge(u.health, res, retries, startPeriod)
	is, r := u.health.Status, u.rec
	u.mu.Unlock()
	if is != was {
		m.publish(r, events.ActionHealthStatus+": "+events.Action(is))
	}
}

// judge applies a result to the state of health, by Docker's rules: failures
// do not count in the start period unless a check succeeded before.
func judge(h *container.Health, res *container.HealthcheckResult, retries int, startPeriod bool) {
	h.Log = append(h.Log, res)
	if len(h.Log) > healthLog {
		h.Log = h.Log[len(h.Log)-healthLog:]
	}
	if res.ExitCode == 0 {
		h.FailingStreak, h.Status = 0, container.Healthy
		return
	}
	if h.Status == container.Starting && startPeriod {
		return
	}
	if h.FailingStreak++; h.FailingStreak >= retries {
		h.Status = container.Unhealthy
	}
}

// check runs the command once.
func (m *Manager) check(ctx context.Context, u *unit, r record, cmd []string, timeout time.Duration) *container.HealthcheckResult {
	res := &container.HealthcheckResult{Start: time.Now(), ExitCode: -1}
	e := m.addExec(u, container.ExecCreateRequest{Cmd: cmd, AttachStdout: true, AttachStderr: true})
	u.mu.Lock()
	e.quiet, e.started = true, true
	u.mu.Unlock()
	defer m.dropExec(e.id)
	defer func() { res.End = time.Now() }()
	conn, err := m.runExec(ctx, u, r, e, nil, true)
	if err != nil {
		res.Output = err.Error()
		return res
	}
	out := &bounded4k{}
	read := make(chan error, 1)
	go func() {
		err := stdcopy.Copy(out, out, conn)
		read <- errors.Join(err, conn.Close())
	}()
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-e.done:
		u.mu.Lock()
		res.ExitCode = *e.code
		u.mu.Unlock()
		if err := <-read; err != nil && !errors.Is(err, io.EOF) {
			m.log.Debug("health check output", "container", short(u.id), "err", err)
		}
		res.Output = out.String()
	case <-ctx.Done():
		m.killExec(ctx, r, e)
	case <-t.C:
		m.killExec(ctx, r, e)
		res.Output = fmt.Sprintf("Health check exceeded timeout (%s): %s", timeout, out.String())
	}
	return res
}

func (m *Manager) killExec(ctx context.Context, r record, e *execution) {
	rt, err := m.runtimeOf(r)
	if err == nil {
		ctx, cancel := bounded(ctx)
		defer cancel()
		err = rt.Kill(ctx, runtime.ContainerID(r.ID), runtime.ExecID(e.id), 9, false)
	}
	if err != nil {
		m.log.Debug("kill health check", "container", short(r.ID), "err", err)
	}
}

// bounded4k keeps the first 4 KiB.
type bounded4k struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (w *bounded4k) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(p[:min(len(p), max(0, healthOutput-w.b.Len()))])
	return len(p), nil
}

func (w *bounded4k) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// StartDocker starts Debian's docker.io. The error says why it cannot.
func StartDocker(tb testing.TB, imagesDir string) (*Engine, error) {
	h, cg := newHost(tb, "docker.io", imagesDir)
	dir := filepath.Join(h.Dir, "docker")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"hosts": []string{"unix://" + filepath.Join(dir, "docker.sock")}, "data-root": filepath.Join(dir, "data"),
		"exec-root": filepath.Join(h.RunDir, "docker"), "pidfile": filepath.Join(dir, "pid"),
		"cgroup-parent": cg.Containers(), "deprecated-key-path": filepath.Join(dir, "key.json"),
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), config, 0o600); err != nil {
		return nil, err
	}
	e := &Engine{Name: "docker.io", Host: h, CG: cg, Socket: filepath.Join(dir, "docker.sock")}
	e.command = func(args ...string) *exec.Cmd {
		return h.Command("/usr/bin/docker", append([]string{"-H", "unix://" + e.Socket}, args...)...)
	}
	d := &dockerd{engine: e, dir: dir}
	e.start, e.stop = d.start, d.stop
	tb.Cleanup(func() {
		if err := errors.Join(d.stop(), d.unmount()); err != nil {
			tb.Errorf("stop dockerd: %v", err)
		}
	})
	if err := d.start(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log")) // empty says enough
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	return e, nil
}

type dockerd struct {
	engine *Engine
	dir    string
	cmd    *exec.Cmd
}

func (d *dockerd) start() error {
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/usr/sbin/dockerd", "--config-file", filepath.Join(d.dir, "daemon.json"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := d.engine.Host.Namespace().Start(cmd); err != nil {
		return err
	}
	d.cmd = cmd
	return waitFor(d.engine, 30*time.Second)
}

func (d *dockerd) stop() error {
	if d.cmd == nil {
		return nil
	}
	err := d.cmd.Process.Signal(syscall.SIGTERM)
	d.cmd.Wait() // its exit code says nothing here
	d.cmd = nil
	return err
}

// unmount undoes what dockerd leaves below its directories when it ends.
func (d *dockerd) unmount() error {
	return unmountBelow(d.engine.Host.Dir)
}

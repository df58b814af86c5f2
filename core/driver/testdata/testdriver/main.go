// Command testdriver is a storage driver that misbehaves on request: the keys
// given to Stat say how.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/storage"
)

const schema = `{
	"type": "object",
	"properties": {
		"mode": {"enum": ["good", "exit", "refuse", "lacking", "hang"], "description": "how Configure ends"},
		"mark": {"type": "string"}
	},
	"additionalProperties": false
}`

type testDriver struct {
	driver.Base
	dir     string
	options string
}

func main() { plugin.Serve(plugin.ServeConfig{Driver: &testDriver{}}) }

func (d *testDriver) Info(context.Context) (driver.Info, error) {
	return driver.Info{Kind: driver.Storage, Name: "test", Version: "1.2.3", OptionsSchema: []byte(schema)}, nil
}

func (d *testDriver) Configure(_ context.Context, c driver.Config) error {
	d.dir, d.options = c.StateDir, string(c.Options)
	switch {
	case strings.Contains(d.options, `"exit"`):
		fmt.Fprintln(os.Stderr, "the disk is on fire")
		os.Exit(3)
	case strings.Contains(d.options, `"hang"`):
		time.Sleep(time.Hour)
	case strings.Contains(d.options, `"refuse"`):
		return fmt.Errorf("mode refuse: not today: %w", errdefs.ErrInvalidArgument)
	case strings.Contains(d.options, `"lacking"`):
		return fmt.Errorf("this machine has no flux capacitor: install one: %w", errdefs.ErrFailedPrecondition)
	}
	return nil
}

func (d *testDriver) Stat(ctx context.Context, key storage.SnapshotKey) (storage.Snapshot, error) {
	switch verb, arg, _ := strings.Cut(string(key), "-"); verb {
	case "exit": // at once, every time
		os.Exit(3)
	case "sleep":
		pause, err := time.ParseDuration(arg)
		if err != nil {
			return storage.Snapshot{}, err
		}
		time.Sleep(pause)
	case "block": // until the file arg is there
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(d.dir, arg)); err == nil {
				break
			}
			if err := os.WriteFile(filepath.Join(d.dir, arg+".waiting"), nil, 0o600); err != nil {
				return storage.Snapshot{}, err
			}
			time.Sleep(time.Millisecond)
		}
	case "missing":
		return storage.Snapshot{}, fmt.Errorf("snapshot %s: %w", key, errdefs.ErrNotFound)
	}
	return storage.Snapshot{Key: key, Labels: map[string]string{"pid": fmt.Sprint(os.Getpid()), "options": d.options}}, nil
}

func (d *testDriver) Apply(_ context.Context, key storage.SnapshotKey, tar io.Reader) (storage.Applied, error) {
	if key == "exit" {
		os.Exit(3)
	}
	n, err := io.Copy(io.Discard, tar)
	return storage.Applied{Bytes: n}, err
}

func (d *testDriver) Prepare(context.Context, storage.SnapshotKey, storage.SnapshotKey, storage.PrepareOptions) ([]mount.Mount, error) {
	return nil, nil
}

func (d *testDriver) View(context.Context, storage.SnapshotKey, storage.SnapshotKey, storage.PrepareOptions) ([]mount.Mount, error) {
	return nil, nil
}

func (d *testDriver) Mounts(context.Context, storage.SnapshotKey) ([]mount.Mount, error) {
	return nil, nil
}

func (d *testDriver) Commit(context.Context, storage.SnapshotKey, storage.SnapshotKey, storage.CommitOptions) error {
	return nil
}
func (d *testDriver) Remove(context.Context, storage.SnapshotKey) error { return nil }
func (d *testDriver) Usage(context.Context, storage.SnapshotKey) (storage.Usage, error) {
	return storage.Usage{}, nil
}
func (d *testDriver) List(context.Context) ([]storage.Snapshot, error) { return nil, nil }
func (d *testDriver) Sync(context.Context) error                       { return nil }
func (d *testDriver) Collect(context.Context, []storage.SnapshotKey) ([]storage.SnapshotKey, error) {
	return nil, nil
}

package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/storage"
	"github.com/strakehq/strake/sdk/trace"
)

// The test binary is its own driver: launched with this variable, it serves.
const actAs = "STRAKE_TEST_DRIVER"

func TestMain(m *testing.M) {
	switch os.Getenv(actAs) {
	case "":
		os.Exit(m.Run())
	case "bare":
		plugin.Serve(plugin.ServeConfig{Driver: bare{&fake{}}})
	case "dies":
		fmt.Fprintln(os.Stderr, "cannot find the flux capacitor")
		os.Exit(3)
	case "mute":
		select {}
	case "foreign":
		foreignMain()
	case "host":
		hostMain("full")
	case "host of survivor":
		hostMain("survivor")
	case "survivor":
		plugin.Serve(plugin.ServeConfig{Driver: &fake{}, Survive: true})
	default:
		plugin.Serve(plugin.ServeConfig{Driver: &fake{}})
	}
}

// bare hides the optional interfaces.
type bare struct{ storage.Driver }

// fake is a storage driver that does what its keys say.
type fake struct{ driver.Base }

var (
	_ storage.Driver  = (*fake)(nil)
	_ storage.Applier = (*fake)(nil)
	_ storage.Differ  = (*fake)(nil)
)

func (*fake) Info(context.Context) (driver.Info, error) {
	return driver.Info{Name: "fake", Version: "1", Capabilities: []driver.Capability{storage.CapQuota}}, nil
}

func (*fake) Configure(_ context.Context, c driver.Config) error {
	switch string(c.Options) {
	case `"bad"`:
		return fmt.Errorf("option x: %w", errdefs.ErrInvalidArgument)
	case `"beat"`:
		go beat()
	}
	return nil
}

func (*fake) Prepare(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	switch key {
	case "panic":
		panic("boom")
	case "conflict":
		return nil, fmt.Errorf("snapshot %s: %w (stop it first)", key, errdefs.ErrConflict)
	case "unavailable":
		return nil, fmt.Errorf("snapshot %s: the disk is asleep: %w", key, errdefs.ErrUnavailable)
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "exit":
		os.Exit(1)
	case "print":
		return nil, printMuch()
	case "big":
		return []mount.Mount{{Source: strings.Repeat("x", int(o.SizeLimit))}}, nil
	case "env":
		return []mount.Mount{{Options: os.Environ()}}, nil
	case "child":
		out, err := exec.CommandContext(ctx, "sh", "-c", "grep SigIgn /proc/self/status; ls /proc/self/fd").Output()
		return []mount.Mount{{Source: string(out)}}, err
	case "trace":
		_, end := trace.Start(ctx, "inner", "k", "v")
		end(errors.New("inner failed"))
	}
	return []mount.Mount{{Type: "bind", Source: string(parent), Options: []string{o.Labels["l"]}}}, nil
}

func printMuch() error {
	line := strings.Repeat("x", 1000)
	for range 1000 { // far more than a pipe holds
		if _, err := fmt.Fprintln(os.Stdout, line); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.Stderr, line); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) View(ctx context.Context, k, p storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return f.Prepare(ctx, k, p, o)
}

func (*fake) Mounts(context.Context, storage.SnapshotKey) ([]mount.Mount, error) { return nil, nil }

func (*fake) Commit(context.Context, storage.SnapshotKey, storage.SnapshotKey, storage.CommitOptions) error {
	return nil
}
func (*fake) Remove(context.Context, storage.SnapshotKey) error { return nil }

func (*fake) Stat(_ context.Context, k storage.SnapshotKey) (storage.Snapshot, error) {
	return storage.Snapshot{Key: k, Parent: "p", Kind: storage.Active, Created: time.Unix(1, 2).UTC(), Labels: map[string]string{"a": "b"}}, nil
}

func (*fake) Usage(context.Context, storage.SnapshotKey) (storage.Usage, error) {
	return storage.Usage{Bytes: 1 << 40, Inodes: 3}, nil
}
func (*fake) List(context.Context) ([]storage.Snapshot, error) { return nil, nil }
func (*fake) Sync(context.Context) error                       { return nil }

func (*fake) Collect(_ context.Context, keep []storage.SnapshotKey) ([]storage.SnapshotKey, error) {
	return keep, nil
}

func (*fake) Apply(_ context.Context, key storage.SnapshotKey, tar io.Reader) (storage.Applied, error) {
	if key == "refuse" {
		return storage.Applied{}, fmt.Errorf("layer: %w", errdefs.ErrDataLoss)
	}
	n, err := io.Copy(io.Discard, tar)
	return storage.Applied{Bytes: n, Entries: 1}, err
}

func (*fake) Diff(_ context.Context, key storage.SnapshotKey, w io.Writer) error {
	if _, err := io.WriteString(w, strings.Repeat("d", 3<<20)); err != nil {
		return err
	}
	if key == "half" {
		return fmt.Errorf("diff: %w", errdefs.ErrDataLoss)
	}
	return nil
}

func launchConfig(t testing.TB, as string) plugin.LaunchConfig {
	t.Helper()
	dir, err := os.MkdirTemp("", "sp") //nolint:usetesting // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return plugin.LaunchConfig{
		Path: "/proc/self/exe", SocketDir: dir + "/s", LogPath: dir + "/log",
		Env: []string{actAs + "=" + as}, Config: &driver.Config{Options: json.RawMessage(`{}`)},
	}
}

func launch(t testing.TB, as string) (*plugin.Client, storage.Driver) {
	t.Helper()
	c, err := plugin.Launch(t.Context(), launchConfig(t, as))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	s, ok := c.Storage()
	if !ok {
		t.Fatalf("no storage driver: %+v", c.Info())
	}
	return c, s
}

// hostMain is a host to be killed. It prints its driver's pid.
func hostMain(as string) {
	c, err := plugin.Launch(context.Background(), plugin.LaunchConfig{
		Path: "/proc/self/exe", SocketDir: os.Getenv("DIR") + "/s", Env: []string{actAs + "=" + as, "DIR=" + os.Getenv("DIR")},
		Config: &driver.Config{Options: []byte(`"beat"`)},
	})
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, c.Pid())
	select {}
}

// beat writes to standard error, and then a byte to a file, for ever.
func beat() {
	f, err := os.Create(os.Getenv("DIR") + "/beats")
	if err != nil {
		panic(err)
	}
	for {
		fmt.Fprintln(os.Stderr, "beat")
		fmt.Fprintln(os.Stdout, "beat")
		if _, err := f.WriteString("."); err != nil {
			panic(err)
		}
		time.Sleep(time.Millisecond)
	}
}

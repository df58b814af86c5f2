package overlay

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/storage"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func config(t testing.TB) driver.Config {
	t.Helper()
	return driver.Config{StateDir: t.TempDir(), RunDir: t.TempDir()}
}

// start makes a driver; end is as good as a kill, since nothing is kept in
// memory that an orderly end would save.
func start(t testing.TB, c driver.Config) (d *Driver, end func()) {
	t.Helper()
	d = New("test", hclog.NewNullLogger())
	must(t, d.Configure(t.Context(), c))
	end = func() { must(t, d.Shutdown(context.Background())) }
	t.Cleanup(end)
	return d, end
}

func layer(t testing.TB, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	must(t, tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: time.Unix(1, 0)}), tw.Close())
	return b.Bytes()
}

func commit(t testing.TB, d *Driver, name, parent storage.SnapshotKey) {
	t.Helper()
	key := "extract-" + name
	_, err := d.Prepare(t.Context(), key, "", storage.PrepareOptions{})
	must(t, err)
	_, err = d.Apply(t.Context(), key, bytes.NewReader(layer(t, string(name))))
	must(t, err, d.Commit(t.Context(), name, key, storage.CommitOptions{Parent: parent}))
}

func prepare(t testing.TB, d *Driver, key, parent storage.SnapshotKey) {
	t.Helper()
	_, err := d.Prepare(t.Context(), key, parent, storage.PrepareOptions{})
	must(t, err)
}

func keysOf(t testing.TB, d *Driver) []storage.SnapshotKey {
	t.Helper()
	list, err := d.List(t.Context())
	must(t, err)
	var keys []storage.SnapshotKey
	for _, s := range list {
		keys = append(keys, s.Key)
	}
	return keys
}

// eventually waits for what happens in the background.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func isEmpty(dir string) bool {
	names, err := os.ReadDir(dir)
	return err == nil && len(names) == 0
}

func TestWhatWasHalfMadeIsGoneAfterARestart(t *testing.T) {
	c := config(t)
	d, end := start(t, c)
	prepare(t, d, "whole", "")
	end()
	half := filepath.Join(c.StateDir, "snapshots", newPrefix+"77")
	must(t, os.MkdirAll(half+"/fs/deep", 0o700), os.Mkdir(c.StateDir+"/.probe-1", 0o700), os.Symlink("7", c.StateDir+"/synced.new"))
	d, _ = start(t, c)
	if got := keysOf(t, d); !slices.Equal(got, []storage.SnapshotKey{"whole"}) {
		t.Errorf("snapshots are %v", got)
	}
	for _, path := range []string{half, c.StateDir + "/.probe-1", c.StateDir + "/synced.new"} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
}

// reboot makes all records look as if another boot had written them.
func reboot(t *testing.T, c driver.Config) {
	t.Helper()
	dirs, err := filepath.Glob(c.StateDir + "/snapshots/*")
	must(t, err)
	for _, dir := range dirs {
		r, err := readRecord(dir)
		must(t, err)
		r.Boot = "another"
		must(t, r.write(dir))
	}
}

func TestCommitsThatWereNotSyncedDoNotOutliveTheBoot(t *testing.T) {
	c := config(t)
	d, end := start(t, c)
	commit(t, d, "synced", "")
	must(t, d.Sync(t.Context()))
	commit(t, d, "unsynced", "synced")
	prepare(t, d, "ctr", "synced")
	end()
	d, end = start(t, c)
	if got := len(keysOf(t, d)); got != 3 {
		t.Errorf("a restart in one boot left %d snapshots", got)
	}
	end()
	reboot(t, c)
	d, _ = start(t, c)
	if got := keysOf(t, d); !slices.Equal(got, []storage.SnapshotKey{"synced", "ctr"}) {
		t.Errorf("after a reboot there are %v", got)
	}
	commit(t, d, "unsynced", "synced")
	must(t, d.Sync(t.Context()))
}

func TestARecordOfANewerDriverIsRefused(t *testing.T) {
	c := config(t)
	d, end := start(t, c)
	prepare(t, d, "a", "")
	end()
	dir := c.StateDir + "/snapshots/1"
	r, err := readRecord(dir)
	must(t, err)
	r.Version = recordVersion + 1
	must(t, r.write(dir))
	err = New("test", hclog.NewNullLogger()).Configure(t.Context(), c)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
}

func TestRemovedSnapshotsAreDeletedInTheBackgroundAndByTheNextProcess(t *testing.T) {
	c := config(t)
	d, end := start(t, c)
	trash := c.StateDir + "/trash"
	prepare(t, d, "a", "")
	must(t, os.MkdirAll(c.StateDir+"/snapshots/1/fs/x/y", 0o700), d.Remove(t.Context(), "a"))
	eventually(t, "the deletion", func() bool { return isEmpty(trash) })
	end()
	must(t, os.MkdirAll(trash+"/99/fs/x/y", 0o700))
	d, _ = start(t, c)
	eventually(t, "the deletion of what the former process left", func() bool { return isEmpty(trash) })
	prepare(t, d, "b", "")
	must(t, d.Remove(t.Context(), "b"))
}

func TestCollectRemovesDirectoriesOfNoSnapshot(t *testing.T) {
	c := config(t)
	d, end := start(t, c)
	commit(t, d, "base", "")
	prepare(t, d, "kept", "base")
	prepare(t, d, "lost", "")
	end()
	must(t, os.Remove(c.StateDir+"/snapshots/3/record"), os.Mkdir(c.StateDir+"/snapshots/50", 0o700), os.WriteFile(c.StateDir+"/snapshots/junk", nil, 0o600))
	d, _ = start(t, c)
	_, err := d.Collect(t.Context(), []storage.SnapshotKey{"kept"})
	must(t, err)
	left, err := os.ReadDir(c.StateDir + "/snapshots")
	must(t, err)
	if len(left) != 2 {
		t.Errorf("left are %v", left)
	}
	if got := keysOf(t, d); !slices.Equal(got, []storage.SnapshotKey{"base", "kept"}) {
		t.Errorf("snapshots are %v", got)
	}
}

func TestASnapshotWhoseParentIsLostIsNotListed(t *testing.T) {
	c := config(t)
	d, end := start(t, c)
	commit(t, d, "base", "")
	commit(t, d, "upper", "base")
	prepare(t, d, "ctr", "upper")
	end()
	must(t, os.Rename(c.StateDir+"/snapshots/1", c.StateDir+"/away"))
	d, _ = start(t, c)
	if got := keysOf(t, d); len(got) != 0 {
		t.Errorf("snapshots are %v", got)
	}
}

func TestAFileSystemThatCannotCarryOverlaysFailsWithTheReason(t *testing.T) {
	c := config(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread's mounts end with it
		done <- onRamfs(t.Context(), c)
	}()
	must(t, <-done)
}

func onRamfs(ctx context.Context, c driver.Config) error {
	err := errors.Join(
		unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("ramfs", c.StateDir, "ramfs", 0, ""))
	if err != nil {
		return err
	}
	d := New("test", hclog.NewNullLogger())
	err = d.Configure(ctx, c)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), c.StateDir) {
		return fmt.Errorf("configure on ramfs: %w, want failed precondition with the directory's name", err)
	}
	if now, _ := d.health.get(); now.Status != driver.Failed || now.Reason == "" {
		return fmt.Errorf("health is %+v", now)
	}
	_, err = d.List(ctx)
	if !errdefs.IsFailedPrecondition(err) {
		return fmt.Errorf("list of a driver that failed: %w", err)
	}
	return nil
}

func TestOneProcessAtATime(t *testing.T) {
	c := config(t)
	_, end := start(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := New("test", hclog.NewNullLogger()).Configure(ctx, c)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "lock") {
		t.Errorf("got %v", err)
	}
	end()
	start(t, c)
}

func TestOptions(t *testing.T) {
	c := config(t)
	root := t.TempDir()
	c.Options = json.RawMessage(`{"root": "` + root + `", "mount_options": ["nodev", "xino=off"]}`)
	d, _ := start(t, c)
	commit(t, d, "base", "")
	mounts, err := d.Prepare(t.Context(), "a", "base", storage.PrepareOptions{})
	must(t, err)
	if opts := mounts[0].Options; !slices.Contains(opts, "nodev") || !slices.Contains(opts, "xino=off") || !slices.Contains(opts, "lowerdir="+root+"/snapshots/1/fs") {
		t.Errorf("options are %v", opts)
	}
	for _, bad := range []string{`{"root": "relative"}`, `{"rot": "/x"}`, `{"mount_options": ["lowerdir=/etc"]}`, `{"mount_options": ["a,upperdir=/etc"]}`, `{"mount_options": [""]}`} {
		c := config(t)
		c.Options = json.RawMessage(bad)
		if err := New("test", hclog.NewNullLogger()).Configure(t.Context(), c); !errdefs.IsInvalidArgument(err) {
			t.Errorf("options %s: %v", bad, err)
		}
	}
	c.Options = nil
	if err := d.Configure(t.Context(), c); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("configure with other values: %v", err)
	}
}

func TestMoreLayersThanOverlayfsTakesAreRefused(t *testing.T) {
	d, _ := start(t, config(t))
	var parent storage.SnapshotKey
	for i := range maxLayers + 1 {
		name := storage.SnapshotKey(fmt.Sprint("layer-", i))
		prepare(t, d, "a", "")
		must(t, d.Commit(t.Context(), name, "a", storage.CommitOptions{Parent: parent}))
		if i == maxLayers-1 {
			prepare(t, d, "fits", name)
		}
		parent = name
	}
	_, err := d.Prepare(t.Context(), "over", parent, storage.PrepareOptions{})
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "501") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkPrepareRemove is what storage does in one `run --rm`.
func BenchmarkPrepareRemove(b *testing.B) {
	d, _ := start(b, config(b))
	var parent storage.SnapshotKey
	for i := range 8 {
		name := storage.SnapshotKey(fmt.Sprint("layer-", i))
		commit(b, d, name, parent)
		parent = name
	}
	for b.Loop() {
		prepare(b, d, "ctr", parent)
		must(b, d.Remove(b.Context(), "ctr"))
	}
}

// TestLayersAreSpread: a layer that begins where another one was deleted takes
// several times as long on ext4 (see spread).
func TestLayersAreSpread(t *testing.T) {
	c := config(t)
	var fs unix.Statfs_t
	must(t, unix.Statfs(c.StateDir, &fs))
	if fs.Type != unix.EXT4_SUPER_MAGIC || fs.Blocks*uint64(fs.Bsize) < 32<<30 {
		t.Skip("needs an ext4 of many block groups")
	}
	d, _ := start(t, c)
	regions := map[uint64]bool{}
	for i := range 16 {
		key := storage.SnapshotKey(fmt.Sprint(i))
		prepare(t, d, key, "")
		e, err := d.store.get(key)
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Stat(d.store.fs(e.n), &st))
		regions[st.Ino>>17] = true // 16 block groups of 8192
	}
	if len(regions) < 4 {
		t.Errorf("16 snapshots lie in %d regions of the disk", len(regions))
	}
}

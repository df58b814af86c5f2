// Command strake-storage-copy is the smallest correct storage driver: every
// snapshot is a whole copy of its parent. It is slow and wasteful, works on any
// file system, and shows what the contract asks for.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/storage"
)

func main() { plugin.Serve(plugin.ServeConfig{Driver: &copier{}}) }

// copier keeps each snapshot in a directory "s-*" of the state directory, with
// its files in "fs" and its record in "record", which alone says what the
// directory is. The lock is held for whole copies: small, not quick.
type copier struct {
	driver.Base
	mu  sync.Mutex
	dir *os.File                         // the state directory
	all map[storage.SnapshotKey]snapshot // nil before Configure
}

type snapshot struct {
	storage.Snapshot
	dir string
}

func (c *copier) Info(context.Context) (driver.Info, error) {
	return driver.Info{Kind: driver.Storage, Name: "copy", Version: "1.0", OptionsSchema: json.RawMessage(`{"additionalProperties": false}`)}, nil
}

// Configure reads the records and removes what a killed process left. After a
// reboot, which empties the run directory, commits newer than the last Sync go.
func (c *copier) Configure(_ context.Context, conf driver.Config) error {
	if o := bytes.TrimSpace(conf.Options); len(o) > 0 && string(o) != "{}" {
		return fmt.Errorf("options %s: %w: driver copy takes none", o, errdefs.ErrInvalidArgument)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all != nil {
		return nil
	}
	var err error
	if c.dir, err = os.Open(conf.StateDir); err != nil {
		return err
	}
	_, rebooted := os.Stat(conf.RunDir + "/alive")
	var synced time.Time
	if info, err := os.Stat(conf.StateDir + "/synced"); err == nil {
		synced = info.ModTime()
	}
	c.all = map[storage.SnapshotKey]snapshot{}
	dirs, err := filepath.Glob(conf.StateDir + "/s-*")
	for _, dir := range dirs {
		s := snapshot{dir: dir}
		text, readErr := os.ReadFile(dir + "/record")
		if readErr != nil || json.Unmarshal(text, &s.Snapshot) != nil || rebooted != nil && s.Kind == storage.Committed && s.Created.After(synced) {
			err = errors.Join(err, os.RemoveAll(dir))
		} else {
			c.all[s.Key] = s
		}
	}
	return errors.Join(err, os.WriteFile(conf.RunDir+"/alive", nil, 0o600))
}

// Sync notes the time of what it made durable.
func (c *copier) Sync(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, fd := time.Now(), int(c.dir.Fd())
	if err := unix.Syncfs(fd); err != nil {
		return err
	}
	name := c.dir.Name() + "/synced"
	return errors.Join(os.WriteFile(name, nil, 0o600), os.Chtimes(name, now, now), unix.Syncfs(fd))
}

// get returns a snapshot of a kind, "" for any.
func (c *copier) get(key storage.SnapshotKey, kind storage.SnapshotKind) (snapshot, error) {
	s, ok := c.all[key]
	if !ok {
		return s, fmt.Errorf("snapshot %s: %w", key, errdefs.ErrNotFound)
	}
	if kind != "" && s.Kind != kind {
		return s, fmt.Errorf("snapshot %s: %w: it is %s, not %s", key, errdefs.ErrFailedPrecondition, s.Kind, kind)
	}
	return s, nil
}

func (c *copier) Prepare(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return c.make(ctx, storage.Snapshot{Key: key, Parent: parent, Kind: storage.Active, Labels: o.Labels}, o.SizeLimit)
}

func (c *copier) View(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return c.make(ctx, storage.Snapshot{Key: key, Parent: parent, Kind: storage.View, Labels: o.Labels}, o.SizeLimit)
}

func (c *copier) make(ctx context.Context, r storage.Snapshot, limit int64) ([]mount.Mount, error) {
	if err := r.Key.Validate(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit != 0 {
		return nil, fmt.Errorf("snapshot %s: size limit: %w: driver copy has no quotas", r.Key, errdefs.ErrNotImplemented)
	}
	if s, ok := c.all[r.Key]; ok {
		if s.Kind != r.Kind || s.Parent != r.Parent || !maps.Equal(s.Labels, r.Labels) {
			return nil, fmt.Errorf("snapshot %s: %w: it is %s, over parent %q", r.Key, errdefs.ErrAlreadyExists, s.Kind, s.Parent)
		}
		return s.mounts(), nil
	}
	parent, err := c.get(r.Parent, storage.Committed)
	if err != nil && r.Parent != "" {
		return nil, fmt.Errorf("snapshot %s: parent: %w", r.Key, err)
	}
	s := snapshot{Snapshot: r}
	s.Created = time.Now()
	if s.dir, err = os.MkdirTemp(c.dir.Name(), "s-"); err != nil {
		return nil, err
	}
	if err = makeTree(ctx, s.dir+"/fs", parent.dir); err == nil {
		err = s.write() // from here on it exists
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot %s: make: %w", r.Key, err), os.RemoveAll(s.dir))
	}
	c.all[r.Key] = s
	return s.mounts(), nil
}

// makeTree makes an empty directory, or a copy of the parent's with all its
// metadata: as an archive, through a pipe.
func makeTree(ctx context.Context, dir, parent string) error {
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil || parent == "" {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(archive.Pack(ctx, w, parent+"/fs")) }()
	_, err := archive.Unpack(ctx, dir, r, archive.Options{MaxSize: math.MaxInt64, MaxEntries: math.MaxInt64})
	return errors.Join(err, r.CloseWithError(err))
}

// write replaces the record in one step.
func (s snapshot) write() error {
	text, err := json.Marshal(s.Snapshot)
	if err != nil {
		return err
	}
	if err = os.WriteFile(s.dir+"/record.new", text, 0o600); err == nil {
		err = os.Rename(s.dir+"/record.new", s.dir+"/record")
	}
	return err
}

func (s snapshot) mounts() []mount.Mount {
	mode := "rw"
	if s.Kind == storage.View {
		mode = "ro"
	}
	return []mount.Mount{{Type: "bind", Source: s.dir + "/fs", Options: []string{"rbind", mode}}}
}

func (c *copier) Mounts(_ context.Context, key storage.SnapshotKey) ([]mount.Mount, error) {
	s, err := c.look(key)
	if err == nil && s.Kind == storage.Committed {
		err = fmt.Errorf("snapshot %s: %w: it is committed, make a view of it", key, errdefs.ErrFailedPrecondition)
	}
	return s.mounts(), err
}

func (c *copier) Commit(ctx context.Context, name, key storage.SnapshotKey, o storage.CommitOptions) error {
	if err := name.Validate(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.get(key, storage.Active)
	done, exists := c.all[name]
	switch {
	case errdefs.IsNotFound(err) && exists && done.Kind == storage.Committed && (o.Parent == "" || o.Parent == done.Parent):
		return nil // a repetition
	case err != nil:
		return err
	case s.Parent != "" && o.Parent != "" && s.Parent != o.Parent:
		return fmt.Errorf("snapshot %s: parent %s: %w: it was prepared over %s", key, o.Parent, errdefs.ErrInvalidArgument, s.Parent)
	case s.Parent == "":
		s.Parent = o.Parent
	}
	if exists {
		if done.Kind != storage.Committed || done.Parent != s.Parent {
			return fmt.Errorf("snapshot %s: %w: it is %s, over parent %q", name, errdefs.ErrAlreadyExists, done.Kind, done.Parent)
		}
		return c.drop(ctx, key)
	}
	if _, err := c.get(s.Parent, storage.Committed); err != nil && s.Parent != "" {
		return fmt.Errorf("snapshot %s: parent: %w", key, err)
	}
	s.Key, s.Kind, s.Created = name, storage.Committed, time.Now()
	if len(o.Labels) > 0 {
		s.Labels = o.Labels
	}
	if err = s.write(); err == nil {
		delete(c.all, key)
		c.all[name] = s
	}
	return err
}

func (c *copier) Remove(ctx context.Context, key storage.SnapshotKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.all {
		if s.Parent == key {
			return fmt.Errorf("snapshot %s: %w: it is the parent of %s, remove that first", key, errdefs.ErrFailedPrecondition, s.Key)
		}
	}
	return c.drop(ctx, key)
}

// drop forgets a snapshot in one step, that of removing its record. Its files
// go afterwards, or with the next Configure.
func (c *copier) drop(ctx context.Context, key storage.SnapshotKey) error {
	s, ok := c.all[key]
	if !ok {
		return nil
	}
	if err := os.Remove(s.dir + "/record"); err != nil {
		return err
	}
	delete(c.all, key)
	return archive.RemoveAll(ctx, s.dir, nil)
}

// look is get without the lock.
func (c *copier) look(key storage.SnapshotKey) (snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(key, "")
}

func (c *copier) Stat(_ context.Context, key storage.SnapshotKey) (storage.Snapshot, error) {
	s, err := c.look(key)
	return s.Snapshot, err
}

func (c *copier) Usage(ctx context.Context, key storage.SnapshotKey) (u storage.Usage, err error) {
	s, err := c.look(key)
	if err == nil {
		u.Bytes, u.Inodes, err = archive.DiskUsage(ctx, s.dir+"/fs")
	}
	return u, err
}

func (c *copier) List(context.Context) ([]storage.Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []storage.Snapshot
	placed := map[storage.SnapshotKey]bool{"": true}
	for range c.all { // once a generation at least
		for key, s := range c.all {
			if placed[s.Parent] && !placed[key] {
				list, placed[key] = append(list, s.Snapshot), true
			}
		}
	}
	return list, nil
}

func (c *copier) Collect(ctx context.Context, keep []storage.SnapshotKey) (removed []storage.SnapshotKey, err error) {
	list, err := c.List(ctx)
	for _, s := range slices.Backward(list) {
		if slices.Contains(keep, s.Key) {
			keep = append(keep, s.Parent)
		} else {
			removed, err = append(removed, s.Key), errors.Join(err, c.Remove(ctx, s.Key))
		}
	}
	return removed, err
}

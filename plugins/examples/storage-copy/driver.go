package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

// copier keeps each snapshot in a directory "s-*" of the state directory, with
// its files in "fs" and its record in "record", which alone says what the
// directory is. The lock is held for whole copies: small, not quick.
type copier struct {
	driver.Base
	mu   sync.Mutex
	root string
	all  map[storage.SnapshotKey]snapshot // nil before Configure
}

type snapshot struct {
	storage.Snapshot
	dir string
}

func (c *copier) Info(context.Context) (driver.Info, error) {
	schema := json.RawMessage(`{"type": "object", "additionalProperties": false}`)
	return driver.Info{Kind: driver.Storage, Name: "copy", Version: "1.0", OptionsSchema: schema}, nil
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
	_, rebooted := os.Stat(conf.RunDir + "/alive")
	var synced time.Time
	if info, err := os.Stat(conf.StateDir + "/synced"); err == nil {
		synced = info.ModTime()
	}
	c.root, c.all = conf.StateDir, map[storage.SnapshotKey]snapshot{}
	dirs, err := filepath.Glob(c.root + "/s-*")
	for _, dir := range dirs {
		s := snapshot{dir: dir}
		text, readErr := os.ReadFile(dir + "/record")
		if readErr != nil || json.Unmarshal(text, &s.Snapshot) != nil || rebooted != nil && s.Kind == storage.Committed && s.Created.After(synced) {
			err = errors.Join(err, os.RemoveAll(dir))
			continue
		}
		c.all[s.Key] = s
	}
	return errors.Join(err, os.WriteFile(conf.RunDir+"/alive", nil, 0o600))
}

// Sync notes the time of what it made durable.
func (c *copier) Sync(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, err := os.Open(c.root)
	if err != nil {
		return err
	}
	now := time.Now()
	err = unix.Syncfs(int(dir.Fd()))
	if err == nil {
		err = errors.Join(os.WriteFile(c.root+"/synced", nil, 0o600), os.Chtimes(c.root+"/synced", now, now), unix.Syncfs(int(dir.Fd())))
	}
	return errors.Join(err, dir.Close())
}

func checkKey(key storage.SnapshotKey) error {
	bad := func(r rune) bool { return r < ' ' || r > '~' || r == '/' }
	if len(key) == 0 || len(key) > 255 || strings.ContainsFunc(string(key), bad) {
		return fmt.Errorf("snapshot key %.300q: %w: 1 to 255 printable ASCII characters but '/' are allowed", key, errdefs.ErrInvalidArgument)
	}
	return nil
}

func (c *copier) get(key storage.SnapshotKey) (snapshot, error) {
	s, ok := c.all[key]
	if !ok {
		return s, fmt.Errorf("snapshot %s: %w", key, errdefs.ErrNotFound)
	}
	return s, nil
}

// committed returns a parent; an empty one is none.
func (c *copier) committed(key storage.SnapshotKey) (snapshot, error) {
	if key == "" {
		return snapshot{}, nil
	}
	s, err := c.get(key)
	if err == nil && s.Kind != storage.Committed {
		err = fmt.Errorf("snapshot %s: %w: it is %s, commit it first", key, errdefs.ErrFailedPrecondition, s.Kind)
	}
	return s, err
}

func (c *copier) Prepare(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return c.make(ctx, storage.Snapshot{Key: key, Parent: parent, Kind: storage.Active, Labels: o.Labels}, o.SizeLimit)
}

func (c *copier) View(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return c.make(ctx, storage.Snapshot{Key: key, Parent: parent, Kind: storage.View, Labels: o.Labels}, o.SizeLimit)
}

func (c *copier) make(ctx context.Context, r storage.Snapshot, limit int64) ([]mount.Mount, error) {
	if err := checkKey(r.Key); err != nil {
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
	parent, err := c.committed(r.Parent)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: parent: %w", r.Key, err)
	}
	r.Created = time.Now()
	s := snapshot{Snapshot: r}
	if s.dir, err = os.MkdirTemp(c.root, "s-"); err != nil {
		return nil, err
	}
	if r.Kind == storage.View && r.Parent != "" {
		err = os.Symlink(parent.dir+"/fs", s.dir+"/fs")
	} else {
		err = makeTree(ctx, s.dir+"/fs", parent.dir)
	}
	if err == nil {
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
	_, err := archive.Unpack(ctx, dir, r, archive.Options{})
	return errors.Join(err, r.CloseWithError(err))
}

// write replaces the record in one step.
func (s snapshot) write() error {
	text, err := json.Marshal(s.Snapshot)
	if err != nil {
		return err
	}
	err = os.WriteFile(s.dir+"/record.new", text, 0o600)
	if err == nil {
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
	if err != nil {
		return nil, err
	}
	return s.mounts(), nil
}

func (c *copier) Commit(_ context.Context, name, key storage.SnapshotKey, o storage.CommitOptions) error {
	if err := checkKey(name); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.get(key)
	done, exists := c.all[name]
	switch {
	case err != nil && exists && done.Kind == storage.Committed && (o.Parent == "" || o.Parent == done.Parent):
		return nil // a repetition
	case err != nil:
		return err
	case s.Kind != storage.Active:
		return fmt.Errorf("snapshot %s: %w: it is %s", key, errdefs.ErrFailedPrecondition, s.Kind)
	case s.Parent != "" && o.Parent != "" && s.Parent != o.Parent:
		return fmt.Errorf("snapshot %s: parent %s: %w: it was prepared over %s", key, o.Parent, errdefs.ErrInvalidArgument, s.Parent)
	case s.Parent == "":
		s.Parent = o.Parent
	}
	if exists {
		if done.Kind != storage.Committed || done.Parent != s.Parent {
			return fmt.Errorf("snapshot %s: %w: it is %s, over parent %q", name, errdefs.ErrAlreadyExists, done.Kind, done.Parent)
		}
		return c.drop(key)
	}
	if _, err := c.committed(s.Parent); err != nil {
		return fmt.Errorf("snapshot %s: parent: %w", key, err)
	}
	s.Key, s.Kind, s.Created = name, storage.Committed, time.Now()
	if len(o.Labels) > 0 {
		s.Labels = o.Labels
	}
	if err := s.write(); err != nil {
		return fmt.Errorf("snapshot %s: commit: %w", key, err)
	}
	delete(c.all, key)
	c.all[name] = s
	return nil
}

func (c *copier) Remove(_ context.Context, key storage.SnapshotKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.all[key]; !ok {
		return nil
	}
	for _, s := range c.all {
		if s.Parent == key {
			return fmt.Errorf("snapshot %s: %w: it is the parent of %s, remove that first", key, errdefs.ErrFailedPrecondition, s.Key)
		}
	}
	return c.drop(key)
}

// drop forgets a snapshot in one step, that of removing its record. Its files
// go afterwards, or with the next Configure.
func (c *copier) drop(key storage.SnapshotKey) error {
	s := c.all[key]
	if err := os.Remove(s.dir + "/record"); err != nil {
		return err
	}
	delete(c.all, key)
	return archive.RemoveAll(context.Background(), s.dir, nil)
}

// look is get without the lock.
func (c *copier) look(key storage.SnapshotKey) (snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(key)
}

func (c *copier) Stat(_ context.Context, key storage.SnapshotKey) (storage.Snapshot, error) {
	s, err := c.look(key)
	return s.Snapshot, err
}

func (c *copier) Usage(ctx context.Context, key storage.SnapshotKey) (storage.Usage, error) {
	s, err := c.look(key)
	if err != nil || s.Kind == storage.View {
		return storage.Usage{}, err
	}
	bytes, inodes, err := archive.DiskUsage(ctx, s.dir+"/fs")
	return storage.Usage{Bytes: bytes, Inodes: inodes}, err
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
			continue
		}
		err = errors.Join(err, c.Remove(ctx, s.Key))
		removed = append(removed, s.Key)
	}
	return removed, err
}

// Package volume keeps named and anonymous volumes: directories below
// <state>/volumes/<name>/_data, as Docker's local driver lays them out.
package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/api/volumes"
	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/sdk/mishap"
)

// Local is the name of the only driver.
const Local = "local"

// anonymousLabel marks volumes that nobody named, as Docker does.
const anonymousLabel = "com.docker.volume.anonymous"

// Config is what a Manager needs.
type Config struct {
	Store *store.Store
	// Dir holds the volumes.
	Dir    string
	Events container.Events
	// UID and GID own new volumes.
	UID, GID int
}

// record is what is kept of a volume.
type record struct {
	Name    string
	Created time.Time
	Labels  map[string]string `json:",omitempty"`
	Options map[string]string `json:",omitempty"`
	// Users are the ids of the containers that use it.
	Users []string `json:",omitempty"`
}

func (r record) anonymous() bool {
	_, ok := r.Labels[anonymousLabel]
	return ok
}

// Manager keeps volumes. It is safe for concurrent use.
type Manager struct {
	cfg   Config
	table store.Table[record]
	mu    sync.Mutex        // held over the disk work of one volume: it is short
	all   map[string]record // guarded by mu
}

var (
	_ volumes.Backend   = (*Manager)(nil)
	_ container.Volumes = (*Manager)(nil)
)

// mkdir makes a volume's directory. The one above it stays root's: its owner
// could put a link in its place.
func (m *Manager) mkdir(name string) error {
	if err := os.MkdirAll(m.dir(name), 0o755); err != nil { //nolint:gosec // containers' users enter it
		return err
	}
	err := os.Mkdir(m.path(name), 0o755) //nolint:gosec // as above
	if errors.Is(err, fs.ErrExist) {
		return nil // left by somebody, and theirs
	}
	if err == nil && (m.cfg.UID != 0 || m.cfg.GID != 0) {
		err = os.Chown(m.path(name), m.cfg.UID, m.cfg.GID)
	}
	return err
}

// New loads the volumes.
func New(cfg Config) (*Manager, error) {
	m := &Manager{cfg: cfg, table: store.NewTable[record]("volumes"), all: map[string]record{}}
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	err := cfg.Store.View(func(tx *store.Tx) error {
		return m.table.Each(tx, func(name string, r record) error {
			m.all[name] = r
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("volumes: load: %w", err)
	}
	return m, nil
}

// Create implements volumes.Backend. Creating one that exists returns it.
func (m *Manager) Create(_ context.Context, r volume.CreateRequest) (volume.Volume, error) {
	if r.ClusterVolumeSpec != nil {
		return volume.Volume{}, fmt.Errorf("volume %s: cluster volumes need a swarm: %w", r.Name, errdefs.ErrInvalidArgument)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, err := m.ensure(r.Name, r.Driver, r.DriverOpts, r.Labels, "")
	if err != nil {
		return volume.Volume{}, err
	}
	return m.describe(rec), nil
}

// ensure makes a volume, or finds it, and adds a user unless that is empty.
// It is called with mu held.
func (m *Manager) ensure(name, driver string, opts, labels map[string]string, user string) (record, error) {
	if err := check(name, driver, opts); err != nil {
		return record{}, err
	}
	rec, ok := m.all[name]
	if !ok {
		rec = record{Name: name, Created: time.Now().UTC(), Labels: maps.Clone(labels), Options: maps.Clone(opts)}
		if name == "" {
			rec.Name = anonymousName()
			rec.Labels = maps.Clone(labels)
			if rec.Labels == nil {
				rec.Labels = map[string]string{}
			}
			rec.Labels[anonymousLabel] = ""
		}
		if err := m.mkdir(rec.Name); err != nil {
			return record{}, fmt.Errorf("volume %s: create: %w", rec.Name, err)
		}
		mishap.Hit(mishap.VolumeDir)
	} else if len(opts) > 0 && !maps.Equal(opts, rec.Options) {
		return record{}, fmt.Errorf("volume %s: exists with other options, remove it first: %w", name, errdefs.ErrConflict)
	}
	if user != "" && !slices.Contains(rec.Users, user) {
		rec.Users = append(slices.Clone(rec.Users), user)
	} else if ok {
		return rec, nil
	}
	if err := m.put(rec); err != nil {
		if !ok {
			err = errors.Join(err, os.RemoveAll(m.dir(rec.Name)))
		}
		return record{}, err
	}
	if !ok {
		m.publish(rec, events.ActionCreate)
	}
	return rec, nil
}

func (m *Manager) put(rec record) error {
	err := m.cfg.Store.Update(func(tx *store.Tx) error { return m.table.Put(tx, rec.Name, rec) })
	if err != nil {
		return fmt.Errorf("volume %s: record: %w", rec.Name, err)
	}
	m.all[rec.Name] = rec
	return nil
}

// Inspect implements volumes.Backend.
func (m *Manager) Inspect(_ context.Context, name string) (volume.Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, err := m.get(name)
	if err != nil {
		return volume.Volume{}, err
	}
	return m.describe(rec), nil
}

func (m *Manager) get(name string) (record, error) {
	rec, ok := m.all[name]
	if !ok {
		return rec, fmt.Errorf("get %s: no such volume: %w", name, errdefs.ErrNotFound)
	}
	return rec, nil
}

func (m *Manager) describe(rec record) volume.Volume {
	return volume.Volume{
		Name: rec.Name, Driver: Local, Scope: "local", Mountpoint: m.path(rec.Name),
		CreatedAt: rec.Created.Format(time.RFC3339), Labels: rec.Labels, Options: rec.Options,
	}
}

func (m *Manager) dir(name string) string  { return filepath.Join(m.cfg.Dir, name) }
func (m *Manager) path(name string) string { return filepath.Join(m.dir(name), "_data") }

func (m *Manager) publish(rec record, a events.Action) {
	m.cfg.Events.Publish(events.VolumeEventType, a, rec.Name, map[string]string{"driver": Local})
}

func anonymousName() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

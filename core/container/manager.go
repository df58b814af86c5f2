package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"github.com/moby/sys/user"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/spec"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

// driverTimeout bounds a call of a driver that nobody else bounds.
const driverTimeout = 2 * time.Minute

// Config is what a Manager needs.
type Config struct {
	Store *store.Store
	// StateDir holds containers/<id>; RunDir what is void after a reboot.
	StateDir, RunDir string
	Images           Images
	Drivers          Drivers
	Networks         Networks
	Volumes          Volumes
	Events           Events
	Log              hclog.Logger
	// StorageDriver is the storage driver's name.
	StorageDriver string
	// InitPath is the program behind --init; empty: it is searched for.
	InitPath string
	// Libexec are directories with Strake's own programs.
	Libexec []string
	// DetachKeys in Docker's notation; empty: ctrl-p,ctrl-q.
	DetachKeys string
	// IDs is how the user namespaces of containers map ids; nil: they have
	// none.
	IDs *user.IdentityMapping
	// CgroupParent is the cgroup above the containers'; empty: /strake.
	CgroupParent string
	// Pin keeps snapshots from being collected until unpin, when a record
	// names them; nil: nothing is collected meanwhile.
	Pin func(keys ...storage.SnapshotKey) (unpin func())
	// Machine are the facts about the host; its zero value: they are
	// detected.
	Machine *spec.Machine
}

// Manager owns all containers. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	log     hclog.Logger
	boot    string
	records store.Table[record]
	table   map[operation]map[status]transition
	machine spec.Machine
	specs   *spec.Builder
	users   *userCache

	mu    sync.RWMutex
	units map[string]*unit  // guarded by mu; by id
	names map[string]string // guarded by mu; name with slash → id
	execs map[string]*unit  // guarded by mu; exec id → container
	// owners are the containers by the directories that are written to in their
	// roots, owned the reverse; see ownRoot.
	owners map[string]string   // guarded by mu
	owned  map[string][]string // guarded by mu

	// ctx ends with Close, and with it all goroutines counted by group.
	ctx    context.Context //nolint:containedctx // the manager's own life, not a caller's
	cancel context.CancelFunc
	group  sync.WaitGroup
	// settled is closed when Recover has removed what belongs to nobody: until
	// then nothing is started, or it would be taken for that.
	settled     chan struct{}
	settledOnce sync.Once
	// watching are the runtime drivers whose events are followed.
	watching map[string]bool // guarded by mu
	// uncollected are the runtime drivers that have not removed yet what
	// belongs to nobody.
	uncollected map[string]bool // guarded by mu
}

var _ containers.Backend = (*Manager)(nil)

// New loads the containers. Call Recover before use.
func New(cfg Config) (*Manager, error) {
	if cfg.CgroupParent == "" {
		cfg.CgroupParent = "/strake"
	}
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	m := &Manager{
		cfg: cfg, log: cfg.Log, boot: cfg.Store.BootID(),
		records: store.NewTable[record]("containers"), table: transitions(), users: newUserCache(),
		units: map[string]*unit{}, names: map[string]string{}, execs: map[string]*unit{}, owners: map[string]string{}, owned: map[string][]string{}, watching: map[string]bool{}, uncollected: map[string]bool{},
		settled: make(chan struct{}),
	}
	if cfg.Machine == nil {
		m.machine = spec.Detect()
	} else {
		m.machine = *cfg.Machine
	}
	m.specs = spec.NewBuilder(m.machine)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if err := os.MkdirAll(m.dir(""), 0o710); err != nil {
		return nil, fmt.Errorf("containers: %w", err)
	}
	if err := letIn(cfg.IDs, m.dir("")); err != nil {
		return nil, fmt.Errorf("containers: %w", err)
	}
	err := cfg.Store.View(func(tx *store.Tx) error {
		return m.records.Each(tx, func(id string, r record) error {
			m.units[id], m.names[r.Name] = newUnit(r), id
			for _, dir := range r.Root {
				m.owners[dir] = id
			}
			m.owned[id] = r.Root
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("containers: load: %w", err)
	}
	return m, nil
}

// Close ends the manager's own work. Containers run on.
func (m *Manager) Close() error {
	m.cancel()
	m.group.Wait()
	return nil
}

// spawn runs f in a goroutine that Close waits for.
func (m *Manager) spawn(f func(ctx context.Context)) {
	m.group.Add(1)
	go func() {
		defer m.group.Done()
		f(m.ctx)
	}()
}

// dir is a container's directory.
func (m *Manager) dir(id string) string { return filepath.Join(m.cfg.StateDir, "containers", id) }

func (m *Manager) file(id, name string) string { return filepath.Join(m.dir(id), name) }

func (m *Manager) logPath(r record) string {
	if r.Host.LogConfig.Type != logDriver {
		return ""
	}
	return m.file(r.ID, r.ID+"-json.log")
}

// find looks a container up by id, name or unique prefix of an id, in this
// order.
func (m *Manager) find(ref string) (*unit, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if u, ok := m.units[ref]; ok {
		return u, nil
	}
	if id, ok := m.names["/"+strings.TrimPrefix(ref, "/")]; ok {
		if u, ok := m.units[id]; ok {
			return u, nil
		}
	}
	var found *unit
	for id, u := range m.units {
		if ref == "" || !strings.HasPrefix(id, ref) {
			continue
		}
		if found != nil {
			return nil, refuse(errdefs.ErrInvalidArgument, "multiple IDs found with provided prefix: %s", ref)
		}
		found = u
	}
	if found == nil {
		return nil, refuse(errdefs.ErrNotFound, "No such container: %s", ref)
	}
	return found, nil
}

// locked finds a container and takes its lock. Call done afterwards.
func (m *Manager) locked(ctx context.Context, ref string) (u *unit, done func(), err error) {
	u, err = m.find(ref)
	if err != nil {
		return nil, nil, err
	}
	if err := u.acquire(ctx); err != nil {
		return nil, nil, err
	}
	u.mu.Lock()
	gone := u.removed
	u.mu.Unlock()
	if gone {
		u.release()
		return nil, nil, refuse(errdefs.ErrNotFound, "No such container: %s", ref)
	}
	return u, u.release, nil
}

// all returns the containers in no order.
func (m *Manager) all() []*unit {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]*unit, 0, len(m.units))
	for _, u := range m.units {
		out = append(out, u)
	}
	return out
}

// runtimeOf returns the driver that a container was made with.
func (m *Manager) runtimeOf(r record) (runtime.Driver, error) {
	d, _, _, err := m.cfg.Drivers.Runtime(r.RuntimeDriver)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", short(r.ID), err)
	}
	return d, nil
}

// bounded detaches an operation from its client, who may leave, and bounds it.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), driverTimeout)
}

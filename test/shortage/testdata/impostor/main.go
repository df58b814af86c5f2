// Command impostor is a storage, a runtime or a network driver: which, its file name
// says. It does what it is told by a real one, whose path is its option "real", and
// lies about it as the file "lie" in its state directory says: it answers with what
// belongs to the first thing that it was asked for, or keeps what it is to remove.
package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/network"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/storage"
)

func main() {
	var d driver.Driver
	switch name := filepath.Base(os.Args[0]); {
	case strings.Contains(name, "storage"):
		d = &store{inner: inner{kind: driver.Storage}}
	case strings.Contains(name, "runtime"):
		d = &runs{inner: inner{kind: driver.Runtime, can: []driver.Capability{runtime.CapRuntimes}}}
	default:
		d = &net{inner: inner{kind: driver.Network, can: []driver.Capability{network.CapPorts}}}
	}
	plugin.Serve(plugin.ServeConfig{Driver: d})
}

// inner is the real driver, and what all three have in common.
type inner struct {
	kind   driver.Kind
	can    []driver.Capability
	client *plugin.Client
	dir    string
	mu     sync.Mutex // guards what the outer types remember
}

func (i *inner) Info(context.Context) (driver.Info, error) {
	return driver.Info{
		Kind: i.kind, Name: "impostor", Version: "1", Capabilities: i.can,
		OptionsSchema: []byte(`{"type": "object", "properties": {"real": {"type": "string"}}}`),
	}, nil
}

func (i *inner) launch(ctx context.Context, c driver.Config) (err error) {
	var o struct{ Real string }
	if err := json.Unmarshal(c.Options, &o); err != nil {
		return err
	}
	i.dir, c.Options = c.StateDir, []byte("{}")
	i.client, err = plugin.Launch(context.WithoutCancel(ctx), plugin.LaunchConfig{
		Path: o.Real, Kind: i.kind, SocketDir: filepath.Join(c.RunDir, "i"), LogPath: c.RunDir + "/real.log", Config: &c,
	})
	return err
}

// lies says whether the file names a lie.
func (i *inner) lies(lie string) bool {
	b, err := os.ReadFile(filepath.Join(i.dir, "lie"))
	return err == nil && string(b) == lie
}

func (i *inner) WatchHealth(ctx context.Context, f func(driver.Health)) error {
	return i.client.Driver().WatchHealth(ctx, f)
}
func (i *inner) Shutdown(ctx context.Context) error { return i.client.Shutdown(ctx) }

type store struct {
	inner
	storage.Driver
	storage.Applier
	first []mount.Mount // of a container
}

func (s *store) Info(ctx context.Context) (driver.Info, error) { return s.inner.Info(ctx) }
func (s *store) WatchHealth(ctx context.Context, f func(driver.Health)) error {
	return s.inner.WatchHealth(ctx, f)
}
func (s *store) Shutdown(ctx context.Context) error { return s.inner.Shutdown(ctx) }

func (s *store) Configure(ctx context.Context, c driver.Config) error {
	err := s.launch(ctx, c)
	if err == nil {
		s.Driver, _ = s.client.Storage()
		s.Applier, _ = s.client.Driver().(storage.Applier)
	}
	return err
}

func (s *store) Prepare(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	m, err := s.Driver.Prepare(ctx, key, parent, o)
	return s.answer("prepare", key, m), err
}

func (s *store) Mounts(ctx context.Context, key storage.SnapshotKey) ([]mount.Mount, error) {
	m, err := s.Driver.Mounts(ctx, key)
	return s.answer("mounts", key, m), err
}

func (s *store) answer(call string, key storage.SnapshotKey, m []mount.Mount) []mount.Mount {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lies(call + " of another"):
		return s.first
	case s.lies(call + " within another's"):
		written, _ := mount.Dirs(s.first[0])
		return []mount.Mount{{Type: "bind", Source: written[0] + "/etc", Options: []string{"rbind", "ro"}}}
	case s.lies(call + " around all"):
		return []mount.Mount{{Type: "bind", Source: s.dir + "/snapshots", Options: []string{"rbind", "rw"}}}
	case s.lies(call + " of the host"):
		return []mount.Mount{{Type: "bind", Source: "/", Options: []string{"rbind", "rw"}}}
	case s.lies(call + " over the host"):
		return []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=" + s.dir, "upperdir=" + s.dir + "/../../containers", "workdir=" + s.dir + "/w"}}}
	}
	if s.first == nil && strings.HasPrefix(string(key), "ctr-") {
		s.first = m
	}
	return m
}

func (s *store) Remove(ctx context.Context, key storage.SnapshotKey) error {
	if s.lies("keeps") {
		return nil
	}
	return s.Driver.Remove(ctx, key)
}

func (s *store) Collect(ctx context.Context, keep []storage.SnapshotKey) ([]storage.SnapshotKey, error) {
	if s.lies("keeps") {
		return nil, nil
	}
	return s.Driver.Collect(ctx, keep)
}

type runs struct {
	inner
	runtime.Driver
	first runtime.ContainerID
	note  driver.Handle // the first's
}

func (r *runs) Info(ctx context.Context) (driver.Info, error) { return r.inner.Info(ctx) }
func (r *runs) WatchHealth(ctx context.Context, f func(driver.Health)) error {
	return r.inner.WatchHealth(ctx, f)
}
func (r *runs) Shutdown(ctx context.Context) error { return r.inner.Shutdown(ctx) }

func (r *runs) Configure(ctx context.Context, c driver.Config) error {
	err := r.launch(ctx, c)
	if err == nil {
		r.Driver, _ = r.client.Runtime()
	}
	return err
}

func (r *runs) Create(ctx context.Context, q runtime.CreateRequest) (driver.Handle, runtime.State, error) {
	h, st, err := r.Driver.Create(ctx, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.lies("handle of another"):
		h = r.note
	case r.lies("created another"):
		st.ID = r.first
	case err == nil && r.first == "":
		r.first, r.note = q.ID, h
	}
	return h, st, err
}

func (r *runs) Start(ctx context.Context, id runtime.ContainerID) (runtime.State, error) {
	if r.lies("started another") { // nothing is started
		return r.State(ctx, r.first, "")
	}
	return r.Driver.Start(ctx, id)
}

func (r *runs) Exec(ctx context.Context, q runtime.ExecRequest) (runtime.State, string, error) {
	st, socket, err := r.Driver.Exec(ctx, q)
	if r.lies("exec in another") {
		st.Exec = "another"
	}
	return st, socket, err
}

func (r *runs) Delete(ctx context.Context, id runtime.ContainerID, force bool) (*runtime.Exit, error) {
	if r.lies("keeps") {
		return nil, nil
	}
	return r.Driver.Delete(ctx, id, force)
}

func (r *runs) Collect(ctx context.Context, keep []runtime.ContainerID) error {
	if r.lies("keeps") {
		return nil
	}
	return r.Driver.Collect(ctx, keep)
}

type net struct {
	inner
	network.Driver
	first network.Attachment
}

func (n *net) Info(ctx context.Context) (driver.Info, error) { return n.inner.Info(ctx) }
func (n *net) WatchHealth(ctx context.Context, f func(driver.Health)) error {
	return n.inner.WatchHealth(ctx, f)
}
func (n *net) Shutdown(ctx context.Context) error { return n.inner.Shutdown(ctx) }

func (n *net) Configure(ctx context.Context, c driver.Config) error {
	err := n.launch(ctx, c)
	if err == nil {
		n.Driver, _ = n.client.Network()
	}
	return err
}

func (n *net) Attach(ctx context.Context, r network.AttachRequest) (network.Attachment, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lies("attached another") { // nobody is attached
		return n.first, nil
	}
	a, err := n.Driver.Attach(ctx, r)
	switch {
	case n.lies("handle of another"):
		a.Handle = n.first.Handle
	case n.lies("another container"):
		a.Container, a.NetNS = n.first.Container, n.first.NetNS
	case err == nil && n.first.Endpoint == "":
		n.first = a
	}
	return a, err
}

func (n *net) EnsureNetwork(ctx context.Context, w network.Network) (network.Network, error) {
	made, err := n.Driver.EnsureNetwork(ctx, w)
	if n.lies("made another") {
		made.ID = n.first.Network
	}
	return made, err
}

func (n *net) Detach(ctx context.Context, id network.EndpointID) error {
	if n.lies("keeps") {
		return nil
	}
	return n.Driver.Detach(ctx, id)
}

func (n *net) RemoveNetwork(ctx context.Context, id network.NetworkID) error {
	if n.lies("keeps") {
		return nil
	}
	return n.Driver.RemoveNetwork(ctx, id)
}

func (n *net) Collect(ctx context.Context, nets []network.NetworkID, ends []network.EndpointID) error {
	if n.lies("keeps") {
		return nil
	}
	return n.Driver.Collect(ctx, nets, ends)
}

package volume_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	api "github.com/moby/moby/api/types/volume"

	"github.com/strakehq/strake/core/events"
	"github.com/strakehq/strake/core/filter"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/core/volume"
)

func newManager(t *testing.T, dir string) (m *volume.Manager, shut func()) {
	t.Helper()
	db, err := store.Open(filepath.Join(dir, "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err = volume.New(volume.Config{Store: db, Dir: filepath.Join(dir, "volumes"), Events: &events.Bus{}})
	if err != nil {
		t.Fatal(err)
	}
	return m, func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestVolumesOutliveTheDaemon(t *testing.T) {
	dir := t.TempDir()
	m, shut := newManager(t, dir)
	ctx := t.Context()
	v, err := m.Create(ctx, api.CreateRequest{Name: "data", Labels: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if v.Driver != "local" || v.Scope != "local" || v.Mountpoint != filepath.Join(dir, "volumes/data/_data") || v.CreatedAt == "" {
		t.Errorf("%+v", v)
	}
	again, err := m.Create(ctx, api.CreateRequest{Name: "data"})
	if err != nil || again.CreatedAt != v.CreatedAt || again.Labels["a"] != "b" {
		t.Errorf("created twice: %+v, %v", again, err)
	}
	if _, err := m.Use(ctx, "data", "local", nil, nil, "c1"); err != nil {
		t.Fatal(err)
	}
	shut()
	m, shut = newManager(t, dir)
	defer shut()
	err = m.Remove(ctx, "data", false)
	if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "volume is in use - [c1]") {
		t.Errorf("in use: %v", err)
	}
	if err := m.Release(ctx, "c1", true); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(ctx, "data", false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "volumes/data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	if err := m.Remove(ctx, "data", false); !errdefs.IsNotFound(err) {
		t.Errorf("gone: %v", err)
	}
	if err := m.Remove(ctx, "data", true); err != nil {
		t.Errorf("gone, by force: %v", err)
	}
}

func TestAnonymousVolumesGoWithTheirContainer(t *testing.T) {
	m, shut := newManager(t, t.TempDir())
	defer shut()
	ctx := t.Context()
	v, err := m.Use(ctx, "", "", nil, nil, "c1")
	if err != nil || len(v.Name) != 64 || !v.Fresh {
		t.Fatalf("%+v, %v", v, err)
	}
	if err := os.WriteFile(filepath.Join(v.Path, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := m.Use(ctx, v.Name, "local", nil, nil, "c2")
	if err != nil || again.Fresh || again.Path != v.Path {
		t.Errorf("%+v, %v", again, err)
	}
	if err := m.Release(ctx, "c1", true); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Inspect(ctx, v.Name); err != nil {
		t.Errorf("still used by c2: %v", err)
	}
	if err := m.Release(ctx, "c2", true); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Inspect(ctx, v.Name); !errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

func TestPruneKeepsNamedVolumesUnlessAsked(t *testing.T) {
	m, shut := newManager(t, t.TempDir())
	defer shut()
	ctx := t.Context()
	if _, err := m.Create(ctx, api.CreateRequest{Name: "named"}); err != nil {
		t.Fatal(err)
	}
	anonymous, err := m.Create(ctx, api.CreateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(anonymous.Mountpoint, "f"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := m.Prune(ctx, nil)
	if err != nil || len(r.VolumesDeleted) != 1 || r.VolumesDeleted[0] != anonymous.Name || r.SpaceReclaimed != 100 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = m.Prune(ctx, filter.Args{"all": {"1"}}); err != nil || len(r.VolumesDeleted) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestListFilters(t *testing.T) {
	m, shut := newManager(t, t.TempDir())
	defer shut()
	ctx := t.Context()
	for _, n := range []string{"beta", "alpha"} {
		if _, err := m.Create(ctx, api.CreateRequest{Name: n, Labels: map[string]string{"n": n}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Use(ctx, "beta", "local", nil, nil, "c"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		f    filter.Args
		want string
	}{
		{nil, "alpha beta"},
		{filter.Args{"dangling": {"true"}}, "alpha"},
		{filter.Args{"dangling": {"0"}}, "beta"},
		{filter.Args{"name": {"et"}}, "beta"},
		{filter.Args{"label": {"n=alpha"}}, "alpha"},
		{filter.Args{"driver": {"nfs"}}, ""},
	} {
		l, err := m.List(ctx, c.f)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range l.Volumes {
			got = append(got, v.Name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: %v", c.f, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	m, shut := newManager(t, t.TempDir())
	defer shut()
	for _, c := range []struct {
		r     api.CreateRequest
		class func(error) bool
		says  string
	}{
		{api.CreateRequest{Name: "../up"}, errdefs.IsInvalidArgument, `"../up" includes invalid characters`},
		{api.CreateRequest{Name: "x"}, errdefs.IsInvalidArgument, "includes invalid characters"},
		{api.CreateRequest{Name: "data", Driver: "nfs"}, errdefs.IsNotFound, `"nfs"`},
		{api.CreateRequest{Name: "data", DriverOpts: map[string]string{"type": "tmpfs"}}, errdefs.IsNotImplemented, "type"},
	} {
		_, err := m.Create(t.Context(), c.r)
		if !c.class(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.r, err)
		}
	}
}

func TestCollectReleasesWhatTheDeadUsed(t *testing.T) {
	m, shut := newManager(t, t.TempDir())
	defer shut()
	ctx := t.Context()
	v, err := m.Use(ctx, "", "", nil, nil, "dead")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Collect(ctx, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Inspect(ctx, v.Name); !errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

// A daemon that died between the record and the directory left the content, which
// the next volume of that name would have had.
func TestARemovalThatWasCutShortIsCompleted(t *testing.T) {
	dir := t.TempDir()
	m, shut := newManager(t, dir)
	ctx := t.Context()
	v, err := m.Create(ctx, api.CreateRequest{Name: "secrets"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(v.Mountpoint, "key"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	// As Remove leaves it when it is killed before its transaction.
	home := filepath.Dir(v.Mountpoint)
	if err := os.Rename(home, filepath.Join(dir, "volumes", ".trash-0a1b-secrets")); err != nil {
		t.Fatal(err)
	}
	shut()
	m, shut = newManager(t, dir)
	defer shut()
	if err := m.Collect(ctx, func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Inspect(ctx, "secrets"); !errdefs.IsNotFound(err) {
		t.Errorf("the volume is there: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "volumes")); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestADirectoryThatNeverBecameAVolumeGoesUnlessItHoldsSomething(t *testing.T) {
	dir := t.TempDir()
	m, shut := newManager(t, dir)
	defer shut()
	for _, d := range []string{"volumes/empty/_data", "volumes/full/_data/file"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Collect(t.Context(), func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "volumes"))
	if err != nil || len(left) != 1 || left[0].Name() != "full" {
		t.Errorf("left: %v %v", left, err)
	}
}

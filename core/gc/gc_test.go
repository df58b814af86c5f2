package gc

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/content"
	"github.com/strakehq/strake/sdk/storage"
)

// recorder is a storage driver of which only Collect is asked.
type recorder struct {
	storage.Driver

	keep []storage.SnapshotKey
	hook func()
}

func (r *recorder) Storage() storage.Driver { return r }

func (r *recorder) Collect(_ context.Context, keep []storage.SnapshotKey) ([]storage.SnapshotKey, error) {
	r.keep = slices.Sorted(slices.Values(keep))
	if r.hook != nil {
		r.hook()
	}
	return nil, nil
}

type roots struct {
	r   Roots
	err error
}

func (r roots) Roots(context.Context) (Roots, error) { return r.r, r.err }

func newCollector(t *testing.T) (*Collector, *recorder, *content.Store) {
	t.Helper()
	c, err := content.Open(t.TempDir(), "boot")
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLeases(t.TempDir(), "boot")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	return New(c, r, l, hclog.NewNullLogger()), r, c
}

func put(t *testing.T, c *content.Store, s string) digest.Digest {
	t.Helper()
	d, err := c.Put(t.Context(), "", []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

func TestOnlyRootsAndLeasesStay(t *testing.T) {
	c, st, blobs := newCollector(t)
	listed, leased, garbage := put(t, blobs, "listed"), put(t, blobs, "leased"), put(t, blobs, "garbage")
	c.AddSource(roots{r: Roots{Blobs: []digest.Digest{listed}, Snapshots: []storage.SnapshotKey{"a", "b"}}})
	c.AddSource(roots{r: Roots{Snapshots: []storage.SnapshotKey{"b", "container"}}})
	le, err := c.leases.Take("pull x")
	if err != nil {
		t.Fatal(err)
	}
	if err := le.Add(Roots{Blobs: []digest.Digest{leased}, Snapshots: []storage.SnapshotKey{"c"}, Temporary: []storage.SnapshotKey{"extract"}}); err != nil {
		t.Fatal(err)
	}
	unpin := c.Pin("pinned")
	rep, err := c.Collect(t.Context())
	if err != nil || !slices.Equal(rep.Blobs, []digest.Digest{garbage}) || rep.BlobBytes != int64(len("garbage")) {
		t.Errorf("report is %+v, error %v", rep, err)
	}
	if want := []storage.SnapshotKey{"a", "b", "c", "container", "extract", "pinned"}; !slices.Equal(st.keep, want) {
		t.Errorf("kept %q, want %q", st.keep, want)
	}
	unpin()
	if err := le.Release(); err != nil {
		t.Fatal(err)
	}
	if rep, err := c.Collect(t.Context()); err != nil || !slices.Equal(rep.Blobs, []digest.Digest{leased}) {
		t.Errorf("after the release: %+v, error %v", rep, err)
	}
	if want := []storage.SnapshotKey{"a", "b", "container"}; !slices.Equal(st.keep, want) {
		t.Errorf("kept %q, want %q", st.keep, want)
	}
}

func TestASourceThatFailsStopsTheCollection(t *testing.T) {
	c, st, blobs := newCollector(t)
	d := put(t, blobs, "blob")
	c.AddSource(roots{err: errors.New("cannot say")})
	if _, err := c.Collect(t.Context()); err == nil {
		t.Error("no error")
	}
	if st.keep != nil || !blobs.Has(d) {
		t.Error("something was collected")
	}
}

func TestALeaseGrowsBeforeACollectionOrAfterItNeverWithin(t *testing.T) {
	c, st, _ := newCollector(t)
	le, err := c.leases.Take("pull x")
	if err != nil {
		t.Fatal(err)
	}
	added := make(chan error, 1)
	st.hook = func() {
		go func() { added <- le.Add(Roots{Snapshots: []storage.SnapshotKey{"late"}}) }()
		select {
		case <-added:
			t.Error("the lease grew while its roots were being collected")
		case <-time.After(20 * time.Millisecond): // it waits, as it should
		}
	}
	if _, err := c.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
}

// What a killed daemon's pull had is held for the same boot, for a day, and
// until the same pull is done or somebody wants the space.
func TestLeasesOfAKilledDaemonAreTakenOver(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenLeases(dir, "boot")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pull x", "pull y"} {
		le, err := l.Take(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := le.Add(Roots{Snapshots: []storage.SnapshotKey{storage.SnapshotKey(name)}, Temporary: []storage.SnapshotKey{"extract"}}); err != nil {
			t.Fatal(err)
		}
	}
	if l, err = OpenLeases(dir, "boot"); err != nil || len(l.live) != 2 {
		t.Fatalf("%d leases, error %v", len(l.live), err)
	}
	x, err := l.Take("pull x")
	if err != nil {
		t.Fatal(err)
	}
	if len(l.live) != 2 || !slices.Equal(x.rec.Snapshots, []storage.SnapshotKey{"pull x"}) || len(x.rec.Temporary) > 0 {
		t.Errorf("%d leases, the new one holds %+v", len(l.live), x.rec.Roots)
	}
	if err := l.Expire(true); err != nil || len(l.live) != 1 {
		t.Errorf("after Expire %d leases, error %v", len(l.live), err)
	}
	if l, err = OpenLeases(dir, "another boot"); err != nil || len(l.live) != 0 {
		t.Errorf("after a reboot %d leases, error %v", len(l.live), err)
	}
}

func TestRunCollectsAtTheStartAndWhenAsked(t *testing.T) {
	c, st, _ := newCollector(t)
	ran := make(chan struct{}, 10)
	st.hook = func() { ran <- struct{}{} }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	<-ran
	c.Trigger()
	<-ran
	cancel()
	<-done
}

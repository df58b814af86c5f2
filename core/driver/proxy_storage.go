package driver

import (
	"context"
	"io"

	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

type storageProxy struct{ common }

var (
	_ storage.Driver  = storageProxy{}
	_ storage.Applier = applier{}
	_ storage.Differ  = differ{}
)

// newStorage returns a proxy that has the optional interfaces which the driver
// declares, so that callers find them by type assertion.
func newStorage(in *instance) storage.Driver {
	p := storageProxy{common{in}}
	switch apply, diff := in.has(storage.CapApply), in.has(storage.CapDiff); {
	case apply && diff:
		return struct {
			storageProxy
			applier
			differ
		}{p, applier{in}, differ{in}}
	case apply:
		return struct {
			storageProxy
			applier
		}{p, applier{in}}
	case diff:
		return struct {
			storageProxy
			differ
		}{p, differ{in}}
	}
	return p
}

func (p storageProxy) Prepare(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return call(ctx, p.in, quick("Prepare"), func(ctx context.Context, d storage.Driver) ([]mount.Mount, error) {
		mounts, err := d.Prepare(ctx, key, parent, o)
		return mounts, p.own("Prepare", mounts, err)
	})
}

// own refuses mounts of what is not the driver's.
func (p storageProxy) own(method string, mounts []mount.Mount, err error) error {
	if err != nil {
		return err
	}
	return p.in.confined(method, mounts)
}

func (p storageProxy) View(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	return call(ctx, p.in, quick("View"), func(ctx context.Context, d storage.Driver) ([]mount.Mount, error) {
		mounts, err := d.View(ctx, key, parent, o)
		return mounts, p.own("View", mounts, err)
	})
}

func (p storageProxy) Mounts(ctx context.Context, key storage.SnapshotKey) ([]mount.Mount, error) {
	return call(ctx, p.in, quick("Mounts"), func(ctx context.Context, d storage.Driver) ([]mount.Mount, error) {
		mounts, err := d.Mounts(ctx, key)
		return mounts, p.own("Mounts", mounts, err)
	})
}

func (p storageProxy) Commit(ctx context.Context, name, key storage.SnapshotKey, o storage.CommitOptions) error {
	return do(ctx, p.in, slow("Commit"), func(ctx context.Context, d storage.Driver) error { return d.Commit(ctx, name, key, o) })
}

func (p storageProxy) Remove(ctx context.Context, key storage.SnapshotKey) error {
	return do(ctx, p.in, quick("Remove"), func(ctx context.Context, d storage.Driver) error { return d.Remove(ctx, key) })
}

func (p storageProxy) Stat(ctx context.Context, key storage.SnapshotKey) (storage.Snapshot, error) {
	return call(ctx, p.in, quick("Stat"), func(ctx context.Context, d storage.Driver) (storage.Snapshot, error) {
		s, err := d.Stat(ctx, key)
		if err == nil {
			err = same(p.in, "Stat", "snapshot", key, s.Key)
		}
		return s, err
	})
}

func (p storageProxy) Usage(ctx context.Context, key storage.SnapshotKey) (storage.Usage, error) {
	return call(ctx, p.in, slow("Usage"), func(ctx context.Context, d storage.Driver) (storage.Usage, error) {
		return d.Usage(ctx, key)
	})
}

func (p storageProxy) List(ctx context.Context) ([]storage.Snapshot, error) {
	return call(ctx, p.in, quick("List"), func(ctx context.Context, d storage.Driver) ([]storage.Snapshot, error) { return d.List(ctx) })
}

func (p storageProxy) Sync(ctx context.Context) error {
	return do(ctx, p.in, slow("Sync"), func(ctx context.Context, d storage.Driver) error { return d.Sync(ctx) })
}

func (p storageProxy) Collect(ctx context.Context, keep []storage.SnapshotKey) ([]storage.SnapshotKey, error) {
	return call(ctx, p.in, slow("Collect"), func(ctx context.Context, d storage.Driver) ([]storage.SnapshotKey, error) {
		return d.Collect(ctx, keep)
	})
}

type applier struct{ in *instance }

// Apply consumes tar, so it is never repeated.
func (a applier) Apply(ctx context.Context, key storage.SnapshotKey, tar io.Reader) (storage.Applied, error) {
	p := policy{method: "Apply", timeout: noLimit, once: true}
	return call(ctx, a.in, p, func(ctx context.Context, d storage.Applier) (storage.Applied, error) {
		return d.Apply(ctx, key, tar)
	})
}

type differ struct{ in *instance }

// Diff has written to w when it fails, so it is never repeated.
func (f differ) Diff(ctx context.Context, key storage.SnapshotKey, w io.Writer) error {
	p := policy{method: "Diff", timeout: noLimit, once: true}
	return do(ctx, f.in, p, func(ctx context.Context, d storage.Differ) error { return d.Diff(ctx, key, w) })
}

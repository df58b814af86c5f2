// Package storagewire carries the storage contract over gRPC.
package storagewire

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/internal/bulk"
	pb "github.com/strakehq/strake/sdk/internal/pb/storagepb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

type client struct {
	*driverwire.Client
	rpc  pb.StorageServiceClient
	bulk bulk.Host
}

// NewClient returns the driver behind cc. It implements storage.Applier and
// storage.Differ exactly when caps declare them.
func NewClient(cc grpc.ClientConnInterface, b bulk.Host, caps []driver.Capability) storage.Driver {
	c := &client{driverwire.NewClient(cc), pb.NewStorageServiceClient(cc), b}
	apply, diff := slices.Contains(caps, storage.CapApply), slices.Contains(caps, storage.CapDiff)
	switch {
	case apply && diff:
		return struct {
			storage.Driver
			storage.Applier
			storage.Differ
		}{c, applier{c}, differ{c}}
	case apply:
		return struct {
			storage.Driver
			storage.Applier
		}{c, applier{c}}
	case diff:
		return struct {
			storage.Driver
			storage.Differ
		}{c, differ{c}}
	}
	return c
}

func toOptions(o storage.PrepareOptions) *pb.PrepareOptions {
	return &pb.PrepareOptions{Labels: o.Labels, SizeLimit: o.SizeLimit}
}

func (c *client) Prepare(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	r, err := c.rpc.Prepare(ctx, &pb.PrepareRequest{Key: string(key), Parent: string(parent), Options: toOptions(o)})
	if err != nil {
		return nil, err
	}
	return driverwire.FromMounts(r.GetMounts()), nil
}

func (c *client) View(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error) {
	r, err := c.rpc.View(ctx, &pb.ViewRequest{Key: string(key), Parent: string(parent), Options: toOptions(o)})
	if err != nil {
		return nil, err
	}
	return driverwire.FromMounts(r.GetMounts()), nil
}

func (c *client) Mounts(ctx context.Context, key storage.SnapshotKey) ([]mount.Mount, error) {
	r, err := c.rpc.Mounts(ctx, &pb.MountsRequest{Key: string(key)})
	if err != nil {
		return nil, err
	}
	return driverwire.FromMounts(r.GetMounts()), nil
}

func (c *client) Commit(ctx context.Context, name, key storage.SnapshotKey, o storage.CommitOptions) error {
	_, err := c.rpc.Commit(ctx, &pb.CommitRequest{
		Name: string(name), Key: string(key), Parent: string(o.Parent), Labels: o.Labels,
	})
	return err
}

func (c *client) Remove(ctx context.Context, key storage.SnapshotKey) error {
	_, err := c.rpc.Remove(ctx, &pb.RemoveRequest{Key: string(key)})
	return err
}

func (c *client) Stat(ctx context.Context, key storage.SnapshotKey) (storage.Snapshot, error) {
	r, err := c.rpc.Stat(ctx, &pb.StatRequest{Key: string(key)})
	if err != nil {
		return storage.Snapshot{}, err
	}
	return fromSnapshot(r.GetSnapshot()), nil
}

func fromSnapshot(s *pb.Snapshot) storage.Snapshot {
	return storage.Snapshot{
		Key: storage.SnapshotKey(s.GetKey()), Parent: storage.SnapshotKey(s.GetParent()),
		Kind: storage.SnapshotKind(s.GetKind()), Created: driverwire.FromTime(s.GetCreated()), Labels: s.GetLabels(),
	}
}

func (c *client) Usage(ctx context.Context, key storage.SnapshotKey) (storage.Usage, error) {
	r, err := c.rpc.Usage(ctx, &pb.UsageRequest{Key: string(key)})
	return storage.Usage{Bytes: r.GetBytes(), Inodes: r.GetInodes()}, err
}

func (c *client) List(ctx context.Context) ([]storage.Snapshot, error) {
	r, err := c.rpc.List(ctx, &pb.ListRequest{})
	if err != nil {
		return nil, err
	}
	var out []storage.Snapshot
	for _, s := range r.GetSnapshots() {
		out = append(out, fromSnapshot(s))
	}
	return out, nil
}

func (c *client) Sync(ctx context.Context) error {
	_, err := c.rpc.Sync(ctx, &pb.SyncRequest{})
	return err
}

func (c *client) Collect(ctx context.Context, keep []storage.SnapshotKey) ([]storage.SnapshotKey, error) {
	r, err := c.rpc.Collect(ctx, &pb.CollectRequest{Keep: driverwire.Strings[string](keep)})
	return driverwire.Strings[storage.SnapshotKey](r.GetRemoved()), err
}

type applier struct{ *client }

func (c applier) Apply(ctx context.Context, key storage.SnapshotKey, tar io.Reader) (storage.Applied, error) {
	var r *pb.ApplyResponse
	whole, err := c.bulk.Upload(ctx, tar, func(ctx context.Context, socket string) (err error) {
		r, err = c.rpc.Apply(ctx, &pb.ApplyRequest{Key: string(key), Stream: socket})
		return err
	})
	if err == nil && !whole {
		err = fmt.Errorf("snapshot %s: apply: the driver did not read the layer to its end: %w", key, errdefs.ErrInternal)
	}
	return storage.Applied{Bytes: r.GetBytes(), Entries: r.GetEntries()}, err
}

type differ struct{ *client }

func (c differ) Diff(ctx context.Context, key storage.SnapshotKey, w io.Writer) error {
	return c.bulk.Download(ctx, w, func(ctx context.Context, socket string) error {
		_, err := c.rpc.Diff(ctx, &pb.DiffRequest{Key: string(key), Stream: socket})
		return err
	})
}

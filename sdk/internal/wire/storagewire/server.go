package storagewire

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/internal/bulk"
	pb "github.com/strakehq/strake/sdk/internal/pb/storagepb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/storage"
)

type server struct {
	pb.UnimplementedStorageServiceServer
	driver storage.Driver
	pool   bulk.Pool
}

// Register serves d on r.
func Register(r grpc.ServiceRegistrar, d storage.Driver) {
	pb.RegisterStorageServiceServer(r, &server{driver: d})
}

// Capabilities are those that d has by its type.
func Capabilities(d storage.Driver) []driver.Capability {
	var caps []driver.Capability
	if _, ok := d.(storage.Applier); ok {
		caps = append(caps, storage.CapApply)
	}
	if _, ok := d.(storage.Differ); ok {
		caps = append(caps, storage.CapDiff)
	}
	return caps
}

func fromOptions(o *pb.PrepareOptions) storage.PrepareOptions {
	return storage.PrepareOptions{Labels: o.GetLabels(), SizeLimit: o.GetSizeLimit()}
}

func (s *server) Prepare(ctx context.Context, r *pb.PrepareRequest) (*pb.PrepareResponse, error) {
	m, err := s.driver.Prepare(ctx, storage.SnapshotKey(r.GetKey()), storage.SnapshotKey(r.GetParent()), fromOptions(r.GetOptions()))
	return &pb.PrepareResponse{Mounts: driverwire.ToMounts(m)}, err
}

func (s *server) View(ctx context.Context, r *pb.ViewRequest) (*pb.ViewResponse, error) {
	m, err := s.driver.View(ctx, storage.SnapshotKey(r.GetKey()), storage.SnapshotKey(r.GetParent()), fromOptions(r.GetOptions()))
	return &pb.ViewResponse{Mounts: driverwire.ToMounts(m)}, err
}

func (s *server) Mounts(ctx context.Context, r *pb.MountsRequest) (*pb.MountsResponse, error) {
	m, err := s.driver.Mounts(ctx, storage.SnapshotKey(r.GetKey()))
	return &pb.MountsResponse{Mounts: driverwire.ToMounts(m)}, err
}

func (s *server) Commit(ctx context.Context, r *pb.CommitRequest) (*pb.CommitResponse, error) {
	return &pb.CommitResponse{}, s.driver.Commit(ctx, storage.SnapshotKey(r.GetName()), storage.SnapshotKey(r.GetKey()),
		storage.CommitOptions{Parent: storage.SnapshotKey(r.GetParent()), Labels: r.GetLabels()})
}

func (s *server) Remove(ctx context.Context, r *pb.RemoveRequest) (*pb.RemoveResponse, error) {
	return &pb.RemoveResponse{}, s.driver.Remove(ctx, storage.SnapshotKey(r.GetKey()))
}

func (s *server) Stat(ctx context.Context, r *pb.StatRequest) (*pb.StatResponse, error) {
	snap, err := s.driver.Stat(ctx, storage.SnapshotKey(r.GetKey()))
	return &pb.StatResponse{Snapshot: toSnapshot(snap)}, err
}

func toSnapshot(s storage.Snapshot) *pb.Snapshot {
	return &pb.Snapshot{
		Key: string(s.Key), Parent: string(s.Parent), Kind: string(s.Kind),
		Created: driverwire.ToTime(s.Created), Labels: s.Labels,
	}
}

func (s *server) Usage(ctx context.Context, r *pb.UsageRequest) (*pb.UsageResponse, error) {
	u, err := s.driver.Usage(ctx, storage.SnapshotKey(r.GetKey()))
	return &pb.UsageResponse{Bytes: u.Bytes, Inodes: u.Inodes}, err
}

func (s *server) List(ctx context.Context, _ *pb.ListRequest) (*pb.ListResponse, error) {
	list, err := s.driver.List(ctx)
	r := &pb.ListResponse{}
	for _, snap := range list {
		r.Snapshots = append(r.Snapshots, toSnapshot(snap))
	}
	return r, err
}

func (s *server) Sync(ctx context.Context, _ *pb.SyncRequest) (*pb.SyncResponse, error) {
	return &pb.SyncResponse{}, s.driver.Sync(ctx)
}

func (s *server) Collect(ctx context.Context, r *pb.CollectRequest) (*pb.CollectResponse, error) {
	removed, err := s.driver.Collect(ctx, driverwire.Strings[storage.SnapshotKey](r.GetKeep()))
	return &pb.CollectResponse{Removed: driverwire.Strings[string](removed)}, err
}

func (s *server) Apply(ctx context.Context, r *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	a, ok := s.driver.(storage.Applier)
	if !ok {
		return nil, missing(storage.CapApply)
	}
	var done storage.Applied
	err := bulk.Receive(ctx, r.GetStream(), &s.pool, func(tar io.Reader) (err error) {
		if done, err = a.Apply(ctx, storage.SnapshotKey(r.GetKey()), tar); err != nil {
			return err
		}
		return bulk.Drain(tar)
	})
	return &pb.ApplyResponse{Bytes: done.Bytes, Entries: done.Entries}, err
}

func (s *server) Diff(ctx context.Context, r *pb.DiffRequest) (*pb.DiffResponse, error) {
	d, ok := s.driver.(storage.Differ)
	if !ok {
		return nil, missing(storage.CapDiff)
	}
	return &pb.DiffResponse{}, bulk.Provide(ctx, r.GetStream(), &s.pool, func(w io.Writer) error {
		return d.Diff(ctx, storage.SnapshotKey(r.GetKey()), w)
	})
}

func missing(c driver.Capability) error {
	return fmt.Errorf("driver lacks capability %s: %w", c, errdefs.ErrNotImplemented)
}

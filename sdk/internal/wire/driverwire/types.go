package driverwire

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/strakehq/strake/sdk/driver"
	pb "github.com/strakehq/strake/sdk/internal/pb/driverpb"
	"github.com/strakehq/strake/sdk/mount"
)

// Strings converts a list between strings and types of strings.
func Strings[To, From ~string](in []From) []To {
	if in == nil {
		return nil
	}
	out := make([]To, len(in))
	for i, s := range in {
		out[i] = To(s)
	}
	return out
}

// ToTime puts a time on the wire; the zero time is absent.
func ToTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// FromTime is the reverse of ToTime, in UTC.
func FromTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// ToHandle puts a handle on the wire.
func ToHandle(h driver.Handle) *pb.Handle { return &pb.Handle{Version: h.Version, State: h.State} }

// FromHandle takes one off.
func FromHandle(h *pb.Handle) driver.Handle {
	return driver.Handle{Version: h.GetVersion(), State: h.GetState()}
}

// ToMounts puts mounts on the wire.
func ToMounts(in []mount.Mount) []*pb.Mount {
	out := make([]*pb.Mount, len(in))
	for i, m := range in {
		out[i] = &pb.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options}
	}
	return out
}

// FromMounts takes them off.
func FromMounts(in []*pb.Mount) []mount.Mount {
	out := make([]mount.Mount, len(in))
	for i, m := range in {
		out[i] = mount.Mount{Type: m.GetType(), Source: m.GetSource(), Target: m.GetTarget(), Options: m.GetOptions()}
	}
	return out
}

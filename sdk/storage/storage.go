// Package storage is the contract of storage drivers: committed layers and
// copy-on-write roots, handed out as mounts.
//
// # Snapshots
//
// A snapshot is a directory tree with an optional parent. It has one of three
// kinds. An Active snapshot is writable and private to one user. Commit turns
// it into a Committed one, which never changes again and may be a parent. A
// View is a read-only look at a committed snapshot.
//
//	Prepare(key, parent) ──► Active ──Commit(name)──► Committed ──► parent of …
//	View(key, parent) ─────► View
//
// # Unpacking an image
//
// The core names a committed layer by its chain id and unpacks several layers
// at once, before their parents exist:
//
//	Prepare("extract-1", "")                      // no parent yet
//	Apply("extract-1", tar)                       // capability Apply
//	Commit("sha256:chain1", "extract-1", {Parent: "sha256:chain0"})
//	Sync()                                        // once, before the image is listed
//
// A driver without Apply gets Prepare with the parent, layer after layer, and
// the core untars into the mounts.
//
// # Containers
//
//	mounts := Prepare("ctr-<id>", "sha256:topchain")
//	… the shim mounts them in a mount namespace of its own …
//	Remove("ctr-<id>")
//
// Mounts are only descriptions: a driver mounts nothing itself, so that nothing
// is left mounted when anybody is killed. The directories in binds and overlays lie
// below the driver's state directory, or below a path that one of its options names,
// and no two snapshots share one that is written to: the core refuses others.
package storage

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
)

// SnapshotKey names a snapshot. It is chosen by the caller: printable ASCII
// without '/', 1 to 255 bytes. Active, view and committed snapshots share one
// name space.
type SnapshotKey string

// Validate returns ErrInvalidArgument for a key that is none.
func (k SnapshotKey) Validate() error {
	if len(k) == 0 || len(k) > 255 {
		return fmt.Errorf("snapshot key of %d bytes: %w: 1 to 255 are allowed", len(k), errdefs.ErrInvalidArgument)
	}
	for _, c := range []byte(k) {
		if c < ' ' || c > '~' || c == '/' {
			return fmt.Errorf("snapshot key %q: %w: printable ASCII without '/' is allowed", k, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// SnapshotKind says what may be done with a snapshot.
type SnapshotKind string

// The kinds of snapshot.
const (
	Active    SnapshotKind = "active"
	View      SnapshotKind = "view"
	Committed SnapshotKind = "committed"
)

// Snapshot is a snapshot's record.
type Snapshot struct {
	Key    SnapshotKey
	Parent SnapshotKey // empty: none
	Kind   SnapshotKind
	// Created is when Prepare or View made it or, once committed, Commit.
	Created time.Time
	Labels  map[string]string
}

// Usage is what one snapshot occupies, its parents not counted.
type Usage struct {
	// Bytes on disk.
	Bytes int64
	// Inodes, hard links counted once.
	Inodes int64
}

// PrepareOptions qualify Prepare and View.
type PrepareOptions struct {
	Labels map[string]string
	// SizeLimit bounds the bytes written to an active snapshot. Zero: none.
	// A driver without CapQuota refuses another value with ErrNotImplemented.
	SizeLimit int64
}

// CommitOptions qualify Commit.
type CommitOptions struct {
	// Parent is the parent of the committed snapshot when the active one was
	// prepared with none. It must be committed already.
	Parent SnapshotKey
	// Labels replace those of Prepare, when there are any.
	Labels map[string]string
}

// Driver is the storage contract.
//
// Unknown keys are ErrNotFound, except for Remove. A key in use with other
// properties is ErrAlreadyExists; with the same, the call succeeds again. A
// snapshot of the wrong kind for a call, a parent that is not committed among
// them, is ErrFailedPrecondition.
type Driver interface {
	driver.Driver

	// Prepare makes an active snapshot over parent, which is committed, or
	// an empty one, and returns its mounts.
	Prepare(ctx context.Context, key, parent SnapshotKey, o PrepareOptions) ([]mount.Mount, error)
	// View makes a read-only snapshot of parent and returns its mounts.
	View(ctx context.Context, key, parent SnapshotKey, o PrepareOptions) ([]mount.Mount, error)
	// Mounts returns the mounts of an active or view snapshot again.
	Mounts(ctx context.Context, key SnapshotKey) ([]mount.Mount, error)
	// Commit turns active key into committed name, in one atomic step. When
	// name exists already, committed over the same parent, key is removed
	// and the call succeeds. Durable after the next Sync; before it, a power
	// cut leaves the snapshot whole or not at all.
	Commit(ctx context.Context, name, key SnapshotKey, o CommitOptions) error
	// Remove forgets a snapshot at once and frees its space later. A
	// snapshot that is a parent is ErrFailedPrecondition. One that is gone
	// is no error.
	Remove(ctx context.Context, key SnapshotKey) error
	// Stat returns a snapshot's record.
	Stat(ctx context.Context, key SnapshotKey) (Snapshot, error)
	// Usage measures a snapshot. It may walk the tree for an active one.
	Usage(ctx context.Context, key SnapshotKey) (Usage, error)
	// List returns all snapshots, parents before children.
	List(ctx context.Context) ([]Snapshot, error)
	// Sync returns when all that was committed before the call survives a
	// power cut.
	Sync(ctx context.Context) error
	// Collect removes every snapshot that is neither in keep nor an ancestor
	// of one that is, and anything on disk that belongs to no snapshot. It
	// returns the keys removed.
	Collect(ctx context.Context, keep []SnapshotKey) ([]SnapshotKey, error)
}

// Capabilities of storage drivers.
const (
	// CapApply: the driver implements Applier.
	CapApply driver.Capability = "storage.apply"
	// CapDiff: the driver implements Differ.
	CapDiff driver.Capability = "storage.diff"
	// CapQuota: SizeLimit is enforced.
	CapQuota driver.Capability = "storage.quota"
)

// Applied says what Apply did.
type Applied struct {
	// Bytes of file content written.
	Bytes int64
	// Entries of the archive that were applied.
	Entries int64
}

// Applier is implemented by drivers that unpack layers themselves, with no
// need of the parent: whiteouts are kept in the driver's own form.
type Applier interface {
	// Apply unpacks an uncompressed OCI layer into active snapshot key.
	// It reads tar to its end. When it fails, the caller removes key; a
	// layer that is malformed is ErrInvalidArgument.
	Apply(ctx context.Context, key SnapshotKey, tar io.Reader) (Applied, error)
}

// Differ is implemented by drivers that can say what a snapshot changed.
type Differ interface {
	// Diff writes what key changed against its parent as an uncompressed
	// OCI layer, in path order, whiteouts included.
	Diff(ctx context.Context, key SnapshotKey, w io.Writer) error
}

// Package unpack turns an image's layers into committed snapshots while they
// download.
//
// Per layer one pipeline runs: bytes from the registry are hashed and kept in
// the content store, decompressed, hashed again as the diff id says, and applied
// by the storage driver. Layers run side by side, the largest first; only the
// commits wait for the parent's. A driver without storage.Applier gets the
// layers one after another, unpacked into its mounts.
//
// Nothing is visible before it is verified: a snapshot is committed under its
// chain id once the blob's digest and the diff id are right.
package unpack

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/strakehq/strake/core/content"
	"github.com/strakehq/strake/core/content/keylock"
	"github.com/strakehq/strake/core/gc"
	"github.com/strakehq/strake/sdk/storage"
	"github.com/strakehq/strake/sdk/trace"
)

// Layer is a layer of an image, in the order of its manifest.
type Layer struct {
	Blob   ocispec.Descriptor
	DiffID digest.Digest
}

// Fetch opens a blob's bytes from an offset on.
type Fetch func(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error)

// Phase is what happens to a layer.
type Phase int

// The phases, in order. Layers that are there already go to Exists at once.
const (
	Queued Phase = iota
	Downloading
	Verifying
	Downloaded
	Extracting
	Done
	Exists
)

// Report hears of layer number i. It is called concurrently and must be quick.
type Report func(i int, p Phase, current, total int64)

// Storage hands out the storage driver.
type Storage interface {
	Storage() storage.Driver
}

// Options of an Unpacker.
type Options struct {
	// Parallel bounds the layers at work, of all pulls together. Zero: the
	// number of CPUs, and 3 at least, since a download waits for the network
	// more than for a CPU.
	Parallel int
	// Limits bound what an image may grow to.
	Limits Limits
	// Decoders are tried before the built-in ones, by media type.
	Decoders []Decoder
}

// Unpacker unpacks for all pulls of a daemon: a layer that two of them need is
// fetched and unpacked once. It is safe for concurrent use.
type Unpacker struct {
	content *content.Store
	storage Storage
	o       Options
	log     hclog.Logger
	chains  *keylock.Locks
	slots   chan struct{}
}

// New makes an Unpacker.
func New(c *content.Store, s Storage, o Options, log hclog.Logger) *Unpacker {
	if o.Parallel <= 0 {
		o.Parallel = max(runtime.NumCPU(), 3)
	}
	o.Limits = o.Limits.WithDefaults()
	return &Unpacker{
		content: c, storage: s, o: o, log: log.Named("unpack"),
		chains: keylock.New(), slots: make(chan struct{}, o.Parallel),
	}
}

// sizeLabel keeps a layer's unpacked size with its snapshot.
const sizeLabel = "strake.layer.size"

// Result says what an image's layers came to.
type Result struct {
	// Chain is the top layer's snapshot; empty without layers.
	Chain storage.SnapshotKey
	// Sizes are the layers' unpacked sizes in bytes.
	Sizes []int64
}

// Chains returns the chain id of each layer, as snapshot keys.
func Chains(layers []Layer) []storage.SnapshotKey {
	ids := make([]digest.Digest, len(layers))
	for i, l := range layers {
		ids[i] = l.DiffID
	}
	out := make([]storage.SnapshotKey, len(ids))
	for i, c := range identity.ChainIDs(ids) {
		out[i] = storage.SnapshotKey(c)
	}
	return out
}

// job is one image on its way.
type job struct {
	u      *Unpacker
	driver storage.Driver
	lease  *gc.Lease
	layers []Layer
	chains []storage.SnapshotKey
	fetch  Fetch
	report Report
	sizes  []int64
	grown  atomic.Int64    // bytes unpacked, of all layers
	done   []chan struct{} // closed when the layer is committed
}

// Unpack makes the snapshots of layers, fetching the blobs that the content
// store does not have. The lease holds everything before it is made. What is
// committed is durable after the driver's Sync, blobs after content.Flush.
func (u *Unpacker) Unpack(ctx context.Context, layers []Layer, lease *gc.Lease, fetch Fetch, report Report) (Result, error) {
	j := &job{
		u: u, driver: u.storage.Storage(), lease: lease, layers: layers, chains: Chains(layers),
		fetch: fetch, report: report, sizes: make([]int64, len(layers)), done: make([]chan struct{}, len(layers)),
	}
	if len(layers) == 0 {
		return Result{}, nil
	}
	if err := u.o.Limits.declared(layers); err != nil {
		return Result{}, err
	}
	hold := gc.Roots{Snapshots: j.chains}
	for i, l := range layers {
		if err := check(l); err != nil {
			return Result{}, err
		}
		hold.Blobs = append(hold.Blobs, l.Blob.Digest)
		j.done[i] = make(chan struct{})
	}
	if err := lease.Add(hold); err != nil {
		return Result{}, err
	}
	if err := j.run(ctx); err != nil {
		return Result{}, err
	}
	return Result{Chain: j.chains[len(j.chains)-1], Sizes: j.sizes}, nil
}

func check(l Layer) error {
	if len(l.Blob.URLs) > 0 && isForeign(l.Blob.MediaType) {
		return fmt.Errorf("layer %s: a foreign layer, to be had only from elsewhere (%s): not supported: %w", l.Blob.Digest, l.Blob.MediaType, errdefs.ErrNotImplemented)
	}
	if err := content.Check(l.DiffID); err != nil {
		return fmt.Errorf("layer %s: diff id: %w", l.Blob.Digest, err)
	}
	return content.Check(l.Blob.Digest)
}

// run starts the largest layers first, so that the last one to end is small.
func (j *job) run(ctx context.Context) error {
	if _, ok := j.driver.(storage.Applier); !ok {
		return j.runInOrder(ctx)
	}
	order := make([]int, len(j.layers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(j.layers[b].Blob.Size, j.layers[a].Blob.Size) })
	order, err := j.missing(ctx, order)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	queue := newQueue(order)
	for _, i := range order {
		g.Go(func() error {
			ctx, end := trace.Start(ctx, "pull layer "+j.layers[i].Blob.Digest.String())
			err := j.layer(ctx, queue, i)
			end(err)
			if err != nil {
				return fmt.Errorf("layer %s: %w", j.layers[i].Blob.Digest, err)
			}
			close(j.done[i])
			return nil
		})
	}
	return g.Wait()
}

// missing leaves out the layers that are there, and tells of all in the order
// of the manifest.
func (j *job) missing(ctx context.Context, order []int) ([]int, error) {
	there := make([]bool, len(j.layers))
	for i, l := range j.layers {
		ok, err := j.committed(ctx, i)
		if err != nil {
			return nil, err
		}
		if there[i] = ok && j.u.content.Has(l.Blob.Digest); there[i] {
			j.report(i, Exists, 0, 0)
			close(j.done[i])
			continue
		}
		j.report(i, Queued, 0, l.Blob.Size)
	}
	return slices.DeleteFunc(order, func(i int) bool { return there[i] }), nil
}

// layer brings one layer to its committed snapshot.
func (j *job) layer(ctx context.Context, queue *queue, i int) error {
	unlock, err := j.u.chains.Lock(ctx, string(j.chains[i]))
	if err != nil {
		queue.pass(i)
		return err
	}
	defer unlock()
	there, err := j.committed(ctx, i)
	if err != nil || there && j.u.content.Has(j.layers[i].Blob.Digest) {
		queue.pass(i)
		j.report(i, Exists, 0, 0)
		return err
	}
	release, err := queue.enter(ctx, j.u.slots, i)
	if err != nil {
		return err
	}
	if there {
		err = j.download(ctx, i)
		release()
		j.reportDone(i, err)
		return err
	}
	key, err := j.extract(ctx, i)
	release()
	if err != nil {
		return err
	}
	return j.commit(ctx, i, key)
}

func (j *job) reportDone(i int, err error) {
	if err == nil {
		j.report(i, Done, 0, 0)
	}
}

// committed says whether the layer's snapshot exists, and notes its size.
func (j *job) committed(ctx context.Context, i int) (bool, error) {
	s, err := j.driver.Stat(ctx, j.chains[i])
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if s.Kind != storage.Committed {
		return false, fmt.Errorf("snapshot %s: is %s where a committed one is expected: %w", s.Key, s.Kind, errdefs.ErrFailedPrecondition)
	}
	if n, err := strconv.ParseInt(s.Labels[sizeLabel], 10, 64); err == nil {
		j.sizes[i] = n
		return true, nil
	}
	u, err := j.driver.Usage(ctx, j.chains[i])
	j.sizes[i] = u.Bytes
	return true, err
}

// extract applies the layer to a snapshot of its own. When a driver died under
// way, or a half blob of an earlier pull was bad, it is done once more: the
// bytes that have arrived are not fetched again.
func (j *job) extract(ctx context.Context, i int) (storage.SnapshotKey, error) {
	for attempt := 0; ; attempt++ {
		key := storage.SnapshotKey("extract-" + rand.Text())
		if err := j.lease.Add(gc.Roots{Temporary: []storage.SnapshotKey{key}}); err != nil {
			return "", err
		}
		again, err := j.stream(ctx, i, key)
		if err == nil {
			return key, nil
		}
		if spoilt(err) {
			err = errors.Join(err, j.drop(ctx, i))
		}
		err = errors.Join(err, j.remove(ctx, key))
		if ctx.Err() != nil || attempt > 0 || !again && !errdefs.IsUnavailable(err) {
			return "", err
		}
		j.u.log.Warn("layer is tried once more", "layer", j.layers[i].Blob.Digest, "err", err)
	}
}

// spoilt says that the bytes themselves may be to blame.
func spoilt(err error) bool {
	return errdefs.IsDataLoss(err) || errdefs.IsInvalidArgument(err) || errdefs.IsOutOfRange(err)
}

// drop forgets what has arrived of a layer. Who sends some bytes and breaks off
// must not spoil the layer for pulls from elsewhere, which would go on from them.
func (j *job) drop(ctx context.Context, i int) error {
	in, err := j.u.content.Ingest(context.WithoutCancel(ctx), j.layers[i].Blob)
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return in.Abort()
}

func (j *job) remove(ctx context.Context, key storage.SnapshotKey) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return j.driver.Remove(ctx, key)
}

// commit waits for the parent and gives the snapshot its name.
func (j *job) commit(ctx context.Context, i int, key storage.SnapshotKey) error {
	o := storage.CommitOptions{Labels: map[string]string{sizeLabel: strconv.FormatInt(j.sizes[i], 10)}}
	if i > 0 {
		select {
		case <-j.done[i-1]:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), j.remove(ctx, key))
		}
		if _, ok := j.driver.(storage.Applier); ok { // else it was prepared over its parent
			o.Parent = j.chains[i-1]
		}
	}
	if err := j.driver.Commit(ctx, j.chains[i], key, o); err != nil {
		return errors.Join(err, j.remove(ctx, key))
	}
	j.report(i, Done, 0, 0)
	return nil
}

package unpack

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/strakehq/strake/core/content"
	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/storage"
)

const cleanupTimeout = 30 * time.Second

// errStopped ends a stage because a later one failed: the later error counts.
var errStopped = errors.New("stopped")

// stream runs a layer's pipeline into the snapshot key. again says that a fresh
// start may succeed where this one failed.
func (j *job) stream(ctx context.Context, i int, key storage.SnapshotKey) (again bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	blob, plain := newPipe(), newPipe()
	var src, dec error
	var g errgroup.Group
	var resumed bool
	g.Go(func() error {
		resumed, src = j.source(ctx, i, blob)
		blob.closeWrite(src)
		return nil
	})
	g.Go(func() error {
		dec = j.decode(&counting{r: blob, seen: func(n int64) { j.report(i, Extracting, n, j.layers[i].Blob.Size) }}, plain)
		plain.closeWrite(dec)
		blob.closeRead()
		return nil
	})
	apply := j.apply(ctx, i, key, plain)
	plain.closeRead()
	if apply != nil {
		cancel() // nobody needs the rest of the download now
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	err = first(src, dec, apply)
	return resumed && spoilt(err), err
}

// first returns the error of the earliest stage that was not stopped by a
// later one.
func first(src, dec, apply error) error {
	stopped := func(err error) bool {
		return errors.Is(err, errStopped) || apply != nil && errors.Is(err, context.Canceled)
	}
	switch {
	case src != nil && !stopped(src):
		return src
	case dec != nil && !stopped(dec):
		return dec
	default:
		return apply
	}
}

// source sends the blob's bytes, from the content store or from the registry.
// resumed says that some of them were left by an earlier download.
func (j *job) source(ctx context.Context, i int, to *pipe) (resumed bool, err error) {
	desc := j.layers[i].Blob
	in, err := j.u.content.Ingest(ctx, desc)
	if errdefs.IsAlreadyExists(err) {
		j.report(i, Downloaded, 0, 0)
		return false, j.fromStore(ctx, i, to)
	}
	if err != nil {
		return false, err
	}
	resumed = in.Offset() > 0
	return resumed, j.fromRegistry(ctx, i, in, to)
}

func (j *job) fromStore(ctx context.Context, i int, to *pipe) error {
	b, err := j.u.content.Open(j.layers[i].Blob.Digest)
	if err != nil {
		return err
	}
	err = copyTo(ctx, to, b, func(int64) {}, nil)
	return errors.Join(err, b.Close())
}

// fromRegistry downloads into in and sends what it gets on. in is committed
// or, when that fails, left for the next try.
func (j *job) fromRegistry(ctx context.Context, i int, in *content.Ingest, to *pipe) (err error) {
	desc := j.layers[i].Blob
	committed := false
	defer func() {
		if !committed {
			err = errors.Join(err, in.Close())
		}
	}()
	had := in.Offset()
	if to != nil && had > 0 {
		if err := copyTo(ctx, to, in.Prefix(), func(n int64) { j.report(i, Downloading, n, desc.Size) }, nil); err != nil {
			return err
		}
	}
	if had < desc.Size {
		body, err := j.fetch(ctx, desc, had)
		if err != nil {
			return err
		}
		err = copyTo(ctx, to, body, func(n int64) { j.report(i, Downloading, had+n, desc.Size) }, in)
		if err := errors.Join(err, body.Close()); err != nil {
			return err
		}
	}
	j.report(i, Verifying, 0, 0)
	committed = true
	if err := in.Commit(); err != nil {
		return err
	}
	j.report(i, Downloaded, 0, 0)
	return nil
}

// copyTo moves bytes from r to w and, unless it is nil, the pipe.
func copyTo(ctx context.Context, to *pipe, r io.Reader, progress func(int64), w io.Writer) error {
	var total int64
	buf := make([]byte, chunkSize)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if to != nil {
			buf = to.buffer()
		}
		n, err := fill(r, buf)
		if n > 0 {
			total += int64(n)
			if w != nil {
				if _, err := w.Write(buf[:n]); err != nil {
					return err
				}
			}
			progress(total)
			mishap.Hit(mishap.LayerStreaming)
			if to != nil && !to.send(buf[:n]) {
				to = nil // the tar has ended: the rest still belongs to the blob
				buf = make([]byte, chunkSize)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill reads half a chunk at least, so that many small reads make few hand-overs.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b)/2 && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

// counting tells how much was read.
type counting struct {
	r    io.Reader
	n    int64
	seen func(total int64)
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.seen(c.n)
	return n, err
}

func (j *job) decode(from io.Reader, to *pipe) error {
	z, err := decompress(from, j.u.o.Decoders)
	if err != nil {
		return err
	}
	for {
		b := to.buffer()
		n, err := fill(z, b)
		if n > 0 && !to.send(b[:n]) {
			return errors.Join(errStopped, z.Close())
		}
		if errors.Is(err, io.EOF) {
			return z.Close()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("decompress: %w: %w", err, errdefs.ErrDataLoss), z.Close())
		}
	}
}

// apply hands the plain tar to the driver and checks the diff id.
func (j *job) apply(ctx context.Context, i int, key storage.SnapshotKey, plain io.Reader) (err error) {
	tar := &hashing{r: plain, seen: j.u.content.Dirtied, hash: j.layers[i].DiffID.Algorithm().Hash(), budget: j.u.o.Limits.budget(j.layers[i].Blob.Size, &j.grown)}
	defer func() {
		if err != nil {
			tar.budget.giveBack()
		}
	}()
	if err := j.applyTar(ctx, i, key, tar); err != nil {
		if tar.err != nil { // the driver says the same in other words
			return tar.err
		}
		return err
	}
	if _, err := io.Copy(io.Discard, tar); err != nil { // what may follow the tar's end
		return err
	}
	want := j.layers[i].DiffID
	if got := digest.NewDigest(want.Algorithm(), tar.hash); got != want {
		return fmt.Errorf("unpacked layer has digest %s where the image configuration says %s: %w", got, want, errdefs.ErrDataLoss)
	}
	j.sizes[i] = tar.n
	return nil
}

func (j *job) applyTar(ctx context.Context, i int, key storage.SnapshotKey, tar io.Reader) error {
	a, ok := j.driver.(storage.Applier)
	if !ok {
		return j.untar(ctx, i, key, tar)
	}
	if _, err := j.driver.Prepare(ctx, key, "", storage.PrepareOptions{}); err != nil {
		return err
	}
	_, err := a.Apply(ctx, key, tar)
	return err
}

// hashing hashes what is read, tells of it, and bounds it.
type hashing struct {
	r      io.Reader
	seen   func(n int)
	hash   hash.Hash
	n      int64
	budget *budget
	err    error
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.hash.Write(p[:n]) // never fails
	h.n += int64(n)
	h.seen(n)
	if h.err = h.budget.take(n); h.err != nil {
		return 0, h.err
	}
	return n, err
}

// download brings the blob alone into the content store, anew when what an
// earlier pull left of it was bad.
func (j *job) download(ctx context.Context, i int) error {
	for {
		in, err := j.u.content.Ingest(ctx, j.layers[i].Blob)
		if errdefs.IsAlreadyExists(err) {
			return nil
		}
		if err != nil {
			return err
		}
		resumed := in.Offset() > 0
		if err = j.fromRegistry(ctx, i, in, nil); !resumed || !errdefs.IsDataLoss(err) {
			return err
		}
	}
}

package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
	"github.com/strakehq/strake/sdk/trace"
)

// runInOrder serves drivers without storage.Applier: blobs come side by side,
// each layer is unpacked over its parent.
func (j *job) runInOrder(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	order := make([]int, len(j.layers))
	for i := range order {
		order[i] = i
		j.report(i, Queued, 0, j.layers[i].Blob.Size)
	}
	queue := newQueue(order)
	fetched := make([]chan struct{}, len(order))
	for i := range order {
		fetched[i] = make(chan struct{})
		g.Go(func() error {
			release, err := queue.enter(ctx, j.u.slots, i)
			if err != nil {
				return err
			}
			defer release()
			if err := j.download(ctx, i); err != nil {
				return fmt.Errorf("layer %s: %w", j.layers[i].Blob.Digest, err)
			}
			close(fetched[i])
			return nil
		})
	}
	g.Go(func() error {
		for i := range order {
			select {
			case <-fetched[i]:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := j.over(ctx, i); err != nil {
				return fmt.Errorf("layer %s: %w", j.layers[i].Blob.Digest, err)
			}
		}
		return nil
	})
	return g.Wait()
}

// over unpacks a layer whose blob is there over its parent, which is committed.
func (j *job) over(ctx context.Context, i int) (err error) {
	ctx, end := trace.Start(ctx, "unpack layer "+j.layers[i].Blob.Digest.String())
	defer func() { end(err) }()
	unlock, err := j.u.chains.Lock(ctx, string(j.chains[i]))
	if err != nil {
		return err
	}
	defer unlock()
	there, err := j.committed(ctx, i)
	if err != nil {
		return err
	}
	if there {
		close(j.done[i])
		j.report(i, Exists, 0, 0)
		return nil
	}
	key, err := j.extract(ctx, i)
	if err != nil {
		return err
	}
	if err := j.commit(ctx, i, key); err != nil {
		return err
	}
	close(j.done[i])
	return nil
}

// untar unpacks into the mounts of a snapshot over the parent's.
func (j *job) untar(ctx context.Context, i int, key storage.SnapshotKey, tar io.Reader) error {
	var parent storage.SnapshotKey
	if i > 0 {
		parent = j.chains[i-1]
	}
	mounts, err := j.driver.Prepare(ctx, key, parent, storage.PrepareOptions{})
	if err != nil {
		return err
	}
	return Mounted(ctx, mounts, func(root string) error {
		_, err := archive.Unpack(ctx, root, tar, archive.Options{Whiteouts: archive.Delete, MaxSize: j.u.o.Limits.Layer})
		return err
	})
}

// Mounted calls f with the root of mounts that nobody else sees: they are made
// in a mount namespace of one thread, which ends with it whatever happens. f
// must stay on its goroutine.
func Mounted(_ context.Context, mounts []mount.Mount, f func(root string) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() (err error) {
			if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
				return fmt.Errorf("make a mount namespace: %w", err)
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
				return fmt.Errorf("make mounts private: %w", err)
			}
			dir, err := os.MkdirTemp("", "strake-unpack-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.Remove(dir)) }()
			return mount.With(mounts, dir, f)
		}()
	}()
	return <-done
}

package overlay

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/mishap"
)

const (
	// reapSlice is how many objects are deleted between two rests.
	reapSlice = 64
	// reapBehind is how many snapshots may wait before rests are skipped.
	reapBehind = 64
	// quietTime is how long the reaper rests after a snapshot was made: as long
	// as a container then takes to start.
	quietTime = 100 * time.Millisecond
	// retryTime is when a failed deletion is tried again.
	retryTime = time.Minute
)

// reaper deletes what is in the trash, in the background and with rests: on
// ext4 a deletion at full speed makes the creation of files beside it up to
// ten times as slow. What it does not manage the next process goes on with.
type reaper struct {
	log     hclog.Logger
	trash   string
	woken   chan struct{}
	cancel  context.CancelFunc
	done    sync.WaitGroup
	busy    atomic.Int64 // Applies that are running
	began   time.Time
	touched atomic.Int64 // when a snapshot was made last, in nanoseconds since began, whatever clocks are set to
	waiting atomic.Int64 // snapshots in the trash
}

func startReaper(ctx context.Context, trash string, log hclog.Logger) *reaper {
	ctx, cancel := context.WithCancel(ctx)
	r := &reaper{log: log, trash: trash, woken: make(chan struct{}, 1), cancel: cancel, began: time.Now()}
	r.done.Go(func() { r.run(ctx) })
	return r
}

func (r *reaper) stop() {
	r.cancel()
	r.done.Wait()
}

// wake says that something is new in the trash.
func (r *reaper) wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// yield makes the reaper rest for a while.
func (r *reaper) yield() { r.touched.Store(int64(time.Since(r.began))) }

// pause makes the reaper rest until resume is called.
func (r *reaper) pause() (resume func()) {
	r.busy.Add(1)
	return func() { r.busy.Add(-1) }
}

func (r *reaper) run(ctx context.Context) {
	for {
		retry := r.empty(ctx)
		select {
		case <-ctx.Done():
			return
		case <-r.woken:
		case <-retry:
		}
	}
}

// empty deletes all that is in the trash now. When something cannot be
// deleted, it returns when to try again.
func (r *reaper) empty(ctx context.Context) (retry <-chan time.Time) {
	entries, err := os.ReadDir(r.trash)
	if err != nil {
		r.log.Error("cannot read the trash", "dir", r.trash, "err", err)
		return time.After(retryTime)
	}
	r.waiting.Store(int64(len(entries)))
	for _, e := range entries {
		p := &pacer{reaper: r, since: time.Now()}
		err := archive.RemoveAll(ctx, filepath.Join(r.trash, e.Name()), p.pace)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.log.Error("cannot delete a removed snapshot", "dir", filepath.Join(r.trash, e.Name()), "err", err)
			retry = time.After(retryTime)
		}
		mishap.Hit(mishap.TrashEmptied)
		r.waiting.Add(-1)
	}
	return retry
}

// pacer lets a deletion rest as long as it works, and longer while snapshots
// are being made.
type pacer struct {
	*reaper
	count int
	since time.Time
}

func (p *pacer) pace(ctx context.Context) error {
	if p.count++; p.count%reapSlice != 0 || p.waiting.Load() > reapBehind {
		return nil
	}
	if err := rest(ctx, time.Since(p.since)); err != nil {
		return err
	}
	for p.busy.Load() > 0 || time.Since(p.began)-time.Duration(p.touched.Load()) < quietTime {
		if err := rest(ctx, quietTime); err != nil {
			return err
		}
	}
	p.since = time.Now()
	return nil
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

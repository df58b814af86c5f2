package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/storage"
)

func storageCrashCases() []storageCase {
	return []storageCase{
		{"every step of an image and a container survives the driver's death", crashBetween},
		{"a driver killed in the middle of a layer leaves a key that can be removed and used again", crashInApply},
		{"a driver killed while it is busy comes back with whole snapshots only", crashBusy},
		{"a layer that fails to arrive leaves a key that can be removed and used again", readerFails},
		{"an apply ends when its caller gives up", applyCancelled},
	}
}

func crashBetween(l *storageLab) {
	tar := archived(l, directory("tmp/", 0o1777), file("tmp/f", "text"), file("gone", ""))
	late := storage.CommitOptions{}
	if l.has(storage.CapApply) {
		l.prepare("extract", "")
		l.crash()
		_, err := l.applier().Apply(l.ctx, "extract", bytes.NewReader(tar))
		l.NoError(err, "apply")
		l.crash()
		l.prepare("extract2", "")
		_, err = l.applier().Apply(l.ctx, "extract2", bytes.NewReader(archived(l, file("tmp/g", "text"), file(".wh.gone", ""))))
		l.NoError(err, "apply")
		l.crash()
		late.Parent = "layer"
	} else {
		l.inside(l.prepare("extract", ""), func(root string) error {
			return errors.Join(write(root, "tmp/f", "text"), os.Chmod(root+"/tmp", 0o777|os.ModeSticky), write(root, "gone", ""))
		})
		l.crash()
	}
	for range 2 { // the answer of the first may have been lost
		l.NoError(l.d.Commit(l.ctx, "layer", "extract", storage.CommitOptions{}), "commit")
		l.crash()
	}
	if late.Parent == "" {
		l.inside(l.prepare("extract2", "layer"), func(root string) error {
			return errors.Join(write(root, "tmp/g", "text"), os.Remove(root+"/gone"))
		})
		l.crash()
	}
	for range 2 {
		l.NoError(l.d.Commit(l.ctx, "top", "extract2", late), "commit over the layer")
		l.crash()
	}
	l.NoError(l.d.Sync(l.ctx), "sync")
	l.crash()
	l.containerThroughCrashes()
}

func (l *storageLab) containerThroughCrashes() {
	first := l.prepare("ctr", "top")
	l.crash()
	l.inside(first, func(root string) error {
		return errors.Join(want(root, "tmp/f", "text"), want(root, "tmp/g", "text"), wantAbsent(root, "gone"), write(root, "tmp/mine", "mine"),
			wantMode(root, "tmp", 0o41777))
	})
	l.crash()
	for range 2 {
		l.inside(l.prepare("ctr", "top"), func(root string) error { return want(root, "tmp/mine", "mine") })
		l.crash()
	}
	s, err := l.d.Stat(l.ctx, "ctr")
	l.NoError(err, "stat")
	if s.Kind != storage.Active || s.Parent != "top" {
		l.Errorf("after crashes the snapshot is %+v", s)
	}
	l.ErrorIs(l.d.Remove(l.ctx, "top"), errdefs.ErrFailedPrecondition, "remove the parent")
	l.crash()
	for range 2 {
		l.NoError(l.d.Remove(l.ctx, "ctr"), "remove")
		l.crash()
	}
	_, err = l.d.Stat(l.ctx, "ctr")
	l.ErrorIs(err, errdefs.ErrNotFound, "stat what was removed")
	removed, err := l.d.Collect(l.ctx, nil)
	l.NoError(err, "collect")
	if len(removed) != 2 {
		l.Errorf("collected %v, want the two layers", removed)
	}
	l.crash()
	list, err := l.d.List(l.ctx)
	l.NoError(err, "list")
	if len(list) != 0 {
		l.Errorf("after collection and a crash there is %v", list)
	}
}

// gate is a layer that stops in the middle until it is opened.
type gate struct {
	first   io.Reader
	reached chan struct{}
	open    chan struct{}
	once    sync.Once
}

func newGate(first []byte) *gate {
	return &gate{first: bytes.NewReader(first), reached: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) Read(p []byte) (int, error) {
	n, err := g.first.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	g.once.Do(func() { close(g.reached) })
	<-g.open
	return 0, errors.New("the registry hung up")
}

// half is the first half of a layer of many files.
func half(l *storageLab) []byte {
	var entries []entry
	for i := range 200 {
		entries = append(entries, file(fmt.Sprintf("d%d/f", i), strings.Repeat("x", 2000)))
	}
	tar := archived(l, entries...)
	return tar[:len(tar)/2]
}

func crashInApply(l *storageLab) {
	a := l.applier()
	if l.subject.Kill == nil {
		l.Skipf("the driver cannot be killed here")
	}
	l.prepare("a", "")
	g := newGate(half(l))
	failed := make(chan error, 1)
	go func() {
		_, err := a.Apply(l.ctx, "a", g)
		failed <- err
	}()
	<-g.reached
	l.crash()
	close(g.open)
	if err := <-failed; err == nil {
		l.Errorf("apply succeeded, though the driver was killed in it")
	}
	l.usableAgain("a")
}

// usableAgain removes a key whose layer failed and unpacks another into it.
func (l *storageLab) usableAgain(key storage.SnapshotKey) {
	l.NoError(l.d.Remove(l.ctx, key), "remove")
	mounts := l.prepare(key, "")
	l.inside(mounts, func(root string) error { return wantAbsent(root, "d0") })
	_, err := l.applier().Apply(l.ctx, key, bytes.NewReader(archived(l, file("f", "whole"))))
	l.NoError(err, "apply again")
	l.inside(mounts, func(root string) error { return want(root, "f", "whole") })
}

func readerFails(l *storageLab) {
	a := l.applier()
	l.prepare("a", "")
	g := newGate(half(l))
	close(g.open)
	_, err := a.Apply(l.ctx, "a", g)
	if err == nil {
		l.Errorf("apply succeeded with half a layer")
	}
	l.usableAgain("a")
}

func applyCancelled(l *storageLab) {
	a := l.applier()
	l.prepare("a", "")
	ctx, cancel := context.WithCancel(l.ctx)
	r, w := io.Pipe()
	go func() {
		_, err := w.Write(half(l))
		cancel()
		w.CloseWithError(errors.Join(err, context.Canceled))
	}()
	_, err := a.Apply(ctx, "a", r)
	if err == nil {
		l.Errorf("apply succeeded, though it was cancelled")
	}
	l.usableAgain("a")
}

// crashBusy kills the driver while several make, commit and remove snapshots,
// and wants a consistent world each time.
func crashBusy(l *storageLab) {
	if l.subject.Kill == nil {
		l.Skipf("the driver cannot be killed here")
	}
	l.base()
	for round := range 3 {
		d := l.d
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				for i := 0; busyStep(l.ctx, d, w, i) == nil; i++ {
				}
			})
		}
		time.Sleep(time.Duration(5+10*round) * time.Millisecond) // anywhere will do
		l.crash()
		all.Wait()
		l.consistent()
	}
	_, err := l.d.Collect(l.ctx, nil)
	l.NoError(err, "collect")
}

func busyStep(ctx context.Context, d storage.Driver, worker, i int) error {
	key := storage.SnapshotKey(fmt.Sprintf("busy-%d-%d", worker, i%8))
	if err := d.Remove(ctx, key); err != nil && !errdefs.IsFailedPrecondition(err) {
		return err
	}
	if _, err := d.Prepare(ctx, key, "base", storage.PrepareOptions{}); err != nil && !errdefs.IsAlreadyExists(err) {
		return err
	}
	if i%2 == 0 {
		return nil
	}
	err := d.Commit(ctx, "layer-"+key, key, storage.CommitOptions{})
	if errdefs.IsFailedPrecondition(err) {
		return nil
	}
	return err
}

// consistent wants every snapshot listed to be whole.
func (l *storageLab) consistent() {
	list, err := l.d.List(l.ctx)
	l.NoError(err, "list")
	for _, s := range list {
		if s.Kind == storage.Committed {
			l.look(s.Key, func(root string) error { return want(root, "kept", "base") })
			continue
		}
		mounts, err := l.d.Mounts(l.ctx, s.Key)
		l.NoError(err, "mounts of "+string(s.Key))
		l.inside(mounts, func(root string) error { return want(root, "kept", "base") })
	}
}

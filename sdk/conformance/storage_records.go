package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

type storageMake = func(ctx context.Context, key, parent storage.SnapshotKey, o storage.PrepareOptions) ([]mount.Mount, error)

func commitCases() []storageCase {
	return []storageCase{
		{"a commit moves the snapshot to its name and keeps its files", commitMoves},
		{"a commit may be repeated", commitAgain},
		{"a commit under a name that exists removes the snapshot", commitExisting},
		{"a commit under a name that is something else is refused", commitOther},
		{"a parent may be given at commit", commitLate},
		{"a parent given at commit must exist, be committed and not contradict", commitBadParent},
		{"only active snapshots are committed", commitWrong},
		{"layers may be committed at once", commitAtOnce},
		{"labels are kept, and replaced by those of the commit", labels},
	}
}

func commitMoves(l *storageLab) {
	before := time.Now().Add(-time.Second)
	l.inside(l.prepare("a", ""), func(root string) error { return write(root, "f", "text") })
	l.commit("layer", "a")
	_, err := l.d.Stat(l.ctx, "a")
	l.ErrorIs(err, errdefs.ErrNotFound, "stat the old key")
	s, err := l.d.Stat(l.ctx, "layer")
	l.NoError(err, "stat")
	if s.Key != "layer" || s.Kind != storage.Committed || s.Parent != "" || s.Created.Before(before) || s.Created.After(time.Now().Add(time.Second)) {
		l.Errorf("stat returned %+v", s)
	}
	l.look("layer", func(root string) error { return want(root, "f", "text") })
	l.inside(l.prepare("a", "layer"), func(root string) error { return want(root, "f", "text") })
}

func commitAgain(l *storageLab) {
	l.base()
	l.prepare("a", "")
	for range 3 {
		l.NoError(l.d.Commit(l.ctx, "layer", "a", storage.CommitOptions{Parent: "base"}), "commit")
	}
}

func commitExisting(l *storageLab) {
	l.base()
	l.inside(l.prepare("a", "base"), func(root string) error { return write(root, "f", "first") })
	l.commit("layer", "a")
	l.inside(l.prepare("b", "base"), func(root string) error { return write(root, "f", "second") })
	l.commit("layer", "b")
	l.prepare("c", "")
	l.NoError(l.d.Commit(l.ctx, "layer", "c", storage.CommitOptions{Parent: "base"}), "commit with a late parent")
	for _, key := range []storage.SnapshotKey{"a", "b", "c"} {
		_, err := l.d.Stat(l.ctx, key)
		l.ErrorIs(err, errdefs.ErrNotFound, "stat "+string(key))
	}
	l.look("layer", func(root string) error { return want(root, "f", "first") })
}

func commitOther(l *storageLab) {
	l.base()
	l.prepare("a", "base")
	l.prepare("b", "")
	l.ErrorIs(l.d.Commit(l.ctx, "b", "a", storage.CommitOptions{}), errdefs.ErrAlreadyExists, "commit under an active snapshot's key")
	l.ErrorIs(l.d.Commit(l.ctx, "base", "a", storage.CommitOptions{}), errdefs.ErrAlreadyExists, "commit under the name of a layer with another parent")
	_, err := l.d.Stat(l.ctx, "a")
	l.NoError(err, "the snapshot stays")
}

func commitLate(l *storageLab) {
	l.base()
	l.inside(l.prepare("a", ""), func(root string) error { return write(root, "top", "late") })
	l.NoError(l.d.Commit(l.ctx, "layer", "a", storage.CommitOptions{Parent: "base"}), "commit with a late parent")
	s, err := l.d.Stat(l.ctx, "layer")
	l.NoError(err, "stat")
	if s.Parent != "base" {
		l.Errorf("parent is %q, want base", s.Parent)
	}
	l.ErrorIs(l.d.Remove(l.ctx, "base"), errdefs.ErrFailedPrecondition, "remove the late parent")
	if l.has(storage.CapApply) {
		l.look("layer", func(root string) error { return errors.Join(want(root, "top", "late"), want(root, "kept", "base")) })
	}
}

func commitBadParent(l *storageLab) {
	l.base()
	l.layer("other", "", archived(l))
	l.prepare("a", "")
	l.prepare("over", "base")
	commit := func(key, parent storage.SnapshotKey) error {
		return l.d.Commit(l.ctx, "x", key, storage.CommitOptions{Parent: parent})
	}
	l.ErrorIs(commit("a", "nobody"), errdefs.ErrNotFound, "commit over an unknown parent")
	l.ErrorIs(commit("a", "over"), errdefs.ErrFailedPrecondition, "commit over an active parent")
	l.ErrorIs(commit("over", "other"), errdefs.ErrInvalidArgument, "commit with a parent that contradicts")
	l.NoError(commit("over", "base"), "commit with the same parent again")
	_, err := l.d.Stat(l.ctx, "a")
	l.NoError(err, "the snapshot stays")
}

func commitWrong(l *storageLab) {
	l.base()
	l.view("v", "base")
	commit := func(key storage.SnapshotKey) error { return l.d.Commit(l.ctx, "x", key, storage.CommitOptions{}) }
	l.ErrorIs(commit("nobody"), errdefs.ErrNotFound, "commit an unknown snapshot")
	l.ErrorIs(commit("v"), errdefs.ErrFailedPrecondition, "commit a view")
	l.ErrorIs(commit("base"), errdefs.ErrFailedPrecondition, "commit a committed snapshot")
	l.prepare("a", "")
	l.ErrorIs(l.d.Commit(l.ctx, "a/b", "a", storage.CommitOptions{}), errdefs.ErrInvalidArgument, "commit under a bad key")
}

func commitAtOnce(l *storageLab) {
	l.base()
	var errs []error
	done := make(chan error)
	for i := range 8 {
		key := storage.SnapshotKey(fmt.Sprintf("a%d", i))
		l.inside(l.prepare(key, "base"), func(root string) error { return write(root, "f", string(key)) })
		go func() { done <- l.d.Commit(l.ctx, "layer-of-"+key, key, storage.CommitOptions{}) }()
	}
	for range 8 {
		errs = append(errs, <-done)
	}
	l.NoError(errors.Join(errs...), "commit at once")
	for i := range 8 {
		key := storage.SnapshotKey(fmt.Sprintf("a%d", i))
		l.look("layer-of-"+key, func(root string) error { return want(root, "f", string(key)) })
	}
}

func labels(l *storageLab) {
	first, second := map[string]string{"a": "1", "": "empty key", "ü": "ö\n"}, map[string]string{"b": "2"}
	_, err := l.d.Prepare(l.ctx, "a", "", storage.PrepareOptions{Labels: first})
	l.NoError(err, "prepare with labels")
	_, err = l.d.Prepare(l.ctx, "b", "", storage.PrepareOptions{Labels: first})
	l.NoError(err, "prepare with labels")
	l.wantLabels("a", first)
	l.commit("kept", "a")
	l.wantLabels("kept", first)
	l.NoError(l.d.Commit(l.ctx, "replaced", "b", storage.CommitOptions{Labels: second}), "commit with labels")
	l.wantLabels("replaced", second)
	long := map[string]string{"long": string(make([]byte, 8000))}
	_, err = l.d.Prepare(l.ctx, "long", "", storage.PrepareOptions{Labels: long})
	l.NoError(err, "prepare with long labels")
	l.crash()
	l.wantLabels("kept", first)
	l.wantLabels("replaced", second)
	l.wantLabels("long", long)
}

func (l *storageLab) wantLabels(key storage.SnapshotKey, labels map[string]string) {
	s, err := l.d.Stat(l.ctx, key)
	l.NoError(err, "stat")
	if !maps.Equal(s.Labels, labels) {
		l.Errorf("%s has labels %.200q, want %.200q", key, s.Labels, labels)
	}
}

func removeCases() []storageCase {
	return []storageCase{
		{"a removed snapshot is gone, and may be removed again", removeGone},
		{"a parent cannot be removed before its children", removeParent},
		{"a removed key may be used again, with nothing left of the old files", removeReuse},
		{"a mounted snapshot may be removed", removeMounted},
		{"usage counts what the snapshot itself holds, hard links once", usage},
	}
}

func removeGone(l *storageLab) {
	l.base()
	l.prepare("a", "base")
	l.view("v", "base")
	for _, key := range []storage.SnapshotKey{"a", "v", "base", "never"} {
		for range 3 {
			l.NoError(l.d.Remove(l.ctx, key), "remove "+string(key))
		}
		_, err := l.d.Stat(l.ctx, key)
		l.ErrorIs(err, errdefs.ErrNotFound, "stat "+string(key))
		_, err = l.d.Mounts(l.ctx, key)
		l.ErrorIs(err, errdefs.ErrNotFound, "mounts of "+string(key))
		_, err = l.d.Usage(l.ctx, key)
		l.ErrorIs(err, errdefs.ErrNotFound, "usage of "+string(key))
	}
}

func removeParent(l *storageLab) {
	l.base()
	l.layer("upper", "base", archived(l))
	l.prepare("a", "upper")
	l.view("v", "upper")
	for _, key := range []storage.SnapshotKey{"a", "v", "upper"} {
		l.ErrorIs(l.d.Remove(l.ctx, "base"), errdefs.ErrFailedPrecondition, "remove a parent")
		if key != "upper" {
			l.ErrorIs(l.d.Remove(l.ctx, "upper"), errdefs.ErrFailedPrecondition, "remove a parent")
		}
		l.NoError(l.d.Remove(l.ctx, key), "remove "+string(key))
	}
	l.NoError(l.d.Remove(l.ctx, "base"), "remove the former parent")
}

func removeReuse(l *storageLab) {
	for range 3 {
		l.inside(l.prepare("a", ""), func(root string) error {
			return errors.Join(wantAbsent(root, "f"), write(root, "f", "text"))
		})
		l.NoError(l.d.Remove(l.ctx, "a"), "remove")
	}
}

func removeMounted(l *storageLab) {
	l.base()
	l.inside(l.prepare("a", "base"), func(root string) error {
		return errors.Join(write(root, "new", ""), l.d.Remove(l.ctx, "a"))
	})
	_, err := l.d.Stat(l.ctx, "a")
	l.ErrorIs(err, errdefs.ErrNotFound, "stat")
}

func usage(l *storageLab) {
	const size = 1 << 20
	l.layer("base", "", archived(l, file("big", string(slices.Repeat([]byte("0123456789abcdef"), 4*size/16)))))
	mounts := l.prepare("a", "base")
	before, err := l.d.Usage(l.ctx, "a")
	l.NoError(err, "usage")
	l.inside(mounts, func(root string) error {
		return errors.Join(
			os.WriteFile(root+"/f", slices.Repeat([]byte("text"), size/4), 0o600),
			os.Link(root+"/f", root+"/g"), os.Link(root+"/f", root+"/h"))
	})
	after, err := l.d.Usage(l.ctx, "a")
	l.NoError(err, "usage")
	if grew := after.Bytes - before.Bytes; grew < size || grew > 3*size/2 {
		l.Errorf("usage grew by %d bytes for a file of %d with two more links", grew, size)
	}
	if grew := after.Inodes - before.Inodes; grew != 1 {
		l.Errorf("usage grew by %d inodes for one file", grew)
	}
	l.commit("layer", "a")
	for range 3 {
		committed, err := l.d.Usage(l.ctx, "layer")
		l.NoError(err, "usage")
		if committed.Bytes < size || committed.Inodes < 1 {
			l.Errorf("usage of the committed snapshot is %+v", committed)
		}
	}
}

func listCases() []storageCase {
	return []storageCase{
		{"all snapshots are listed, parents before children, as stat shows them", list},
		{"collection keeps what it is told with its ancestors and removes the rest", collect},
		{"sync may be repeated", syncAgain},
	}
}

func list(l *storageLab) {
	// made so that no order of keys or of making is the right one by chance
	l.layer("m", "", archived(l))
	l.layer("z", "m", archived(l))
	l.layer("b", "z", archived(l))
	l.prepare("a", "b")
	l.view("n", "z")
	got, err := l.d.List(l.ctx)
	l.NoError(err, "list")
	if len(got) != 5 {
		l.Errorf("%d snapshots are listed, want 5", len(got))
	}
	seen := map[storage.SnapshotKey]bool{"": true}
	for _, s := range got {
		if !seen[s.Parent] {
			l.Errorf("%s is listed before its parent %s", s.Key, s.Parent)
		}
		seen[s.Key] = true
		stat, err := l.d.Stat(l.ctx, s.Key)
		l.NoError(err, "stat")
		if stat.Kind != s.Kind || stat.Parent != s.Parent || !stat.Created.Equal(s.Created) {
			l.Errorf("listed as %+v, but stat returns %+v", s, stat)
		}
	}
}

func collect(l *storageLab) {
	l.layer("m", "", archived(l))
	l.layer("kept", "m", archived(l, file("f", "kept")))
	l.layer("gone", "m", archived(l))
	l.layer("deep", "gone", archived(l))
	l.prepare("ctr", "kept")
	l.prepare("old", "kept")
	l.view("v", "deep")
	removed, err := l.d.Collect(l.ctx, []storage.SnapshotKey{"ctr", "never"})
	l.NoError(err, "collect")
	slices.Sort(removed)
	if want := []storage.SnapshotKey{"deep", "gone", "old", "v"}; !slices.Equal(removed, want) {
		l.Errorf("removed %v, want %v", removed, want)
	}
	mounts, err := l.d.Mounts(l.ctx, "ctr")
	l.NoError(err, "mounts of what was kept")
	l.inside(mounts, func(root string) error { return want(root, "f", "kept") })
	removed, err = l.d.Collect(l.ctx, []storage.SnapshotKey{"ctr"})
	l.NoError(err, "collect again")
	if len(removed) != 0 {
		l.Errorf("the second collection removed %v", removed)
	}
	removed, err = l.d.Collect(l.ctx, nil)
	l.NoError(err, "collect all")
	got, err := l.d.List(l.ctx)
	l.NoError(err, "list")
	if len(removed) != 3 || len(got) != 0 {
		l.Errorf("collection of all removed %v and left %v", removed, got)
	}
}

func syncAgain(l *storageLab) {
	for range 3 {
		l.NoError(l.d.Sync(l.ctx), "sync")
	}
	l.base()
	for range 3 {
		l.NoError(l.d.Sync(l.ctx), "sync")
	}
}

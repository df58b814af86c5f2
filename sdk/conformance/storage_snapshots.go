package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

func snapshotCases() []storageCase {
	return []storageCase{
		{"it says that it is a storage driver, and its name", identity},
		{"it is ready", ready},
		{"a snapshot without a parent is empty, writable and like /", emptySnapshot},
		{"a snapshot shows its parent's files, and changes stay its own", ownChanges},
		{"the root of a snapshot has its parent's owner and mode", rootAttributes},
		{"preparing again gives the same mounts", prepareAgain},
		{"a key in use with other properties is refused", keyInUse},
		{"a parent must exist and be committed", badParents},
		{"keys are printable ASCII without slash, 1 to 255 bytes", keys},
		{"a size limit is enforced or refused", sizeLimit},
		{"a view shows its parent's files and cannot be written", viewReadOnly},
		{"mounts are handed out again, but not those of committed snapshots", mountsAgain},
		{"no two snapshots share a directory that is written to", directoriesOfTheirOwn},
		{"snapshots of one parent may be prepared at once", prepareAtOnce},
		{"one key may be prepared by several at once", prepareOneAtOnce},
		{"a chain of 70 layers can be read and written", longChain},
	}
}

func directoriesOfTheirOwn(l *storageLab) {
	seen := map[string]storage.SnapshotKey{}
	for _, key := range []storage.SnapshotKey{"own-1", "own-2", "own-3"} {
		for _, m := range l.prepare(key, "") {
			written, _ := mount.Dirs(m)
			for _, dir := range written {
				if other, ok := seen[dir]; ok {
					l.Errorf("%s is written to in %s and in %s", dir, other, key)
				}
				seen[dir] = key
			}
		}
	}
}

func identity(l *storageLab) {
	if l.info.Kind != driver.Storage {
		l.Errorf("kind is %q, want %q", l.info.Kind, driver.Storage)
	}
	if l.info.Name == "" {
		l.Errorf("the driver has no name")
	}
}

func ready(l *storageLab) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	var first *driver.Health
	err := l.d.WatchHealth(ctx, func(h driver.Health) {
		if first == nil {
			first = &h
		}
		cancel()
	})
	if err != nil && !errors.Is(err, context.Canceled) && !errdefs.IsCanceled(err) {
		l.Errorf("watch health: %w", err)
	}
	if first == nil || first.Status == driver.Failed {
		l.Errorf("first health reported is %v, want ready", first)
	}
}

func emptySnapshot(l *storageLab) {
	l.inside(l.prepare("a", ""), func(root string) error {
		names, err := os.ReadDir(root)
		if err != nil || len(names) != 0 {
			return fmt.Errorf("it holds %v, %w", names, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(root, &st); err != nil {
			return err
		}
		if st.Mode&0o7777 != 0o755 || st.Uid != 0 || st.Gid != 0 {
			return fmt.Errorf("its root has mode %#o, owner %d:%d, want 0755, 0:0", st.Mode&0o7777, st.Uid, st.Gid)
		}
		return write(root, "dir/file", "text")
	})
	mounts, err := l.d.Mounts(l.ctx, "a")
	l.NoError(err, "mounts")
	l.inside(mounts, func(root string) error { return want(root, "dir/file", "text") })
}

// base commits a layer "base" with a few files.
func (l *storageLab) base() {
	l.layer("base", "", archived(l, file("kept", "base"), file("gone", "base"), file("changed", "base"),
		directory("dir/", 0o755), file("dir/file", "base")))
}

func ownChanges(l *storageLab) {
	l.base()
	mounts := l.prepare("one", "base")
	l.inside(mounts, func(root string) error {
		return errors.Join(
			want(root, "kept", "base"), want(root, "dir/file", "base"),
			write(root, "changed", "one"), os.Remove(root+"/gone"), os.RemoveAll(root+"/dir"), write(root, "new/file", "one"))
	})
	l.inside(mounts, func(root string) error {
		return errors.Join(want(root, "kept", "base"), want(root, "changed", "one"), want(root, "new/file", "one"),
			wantAbsent(root, "gone"), wantAbsent(root, "dir"))
	})
	untouched := func(root string) error {
		return errors.Join(want(root, "changed", "base"), want(root, "gone", "base"), want(root, "dir/file", "base"), wantAbsent(root, "new"))
	}
	l.inside(l.prepare("two", "base"), untouched)
	l.look("base", untouched)
}

func rootAttributes(l *storageLab) {
	h := directory("./", 0o1777)
	h.Uid, h.Gid = 1, 2
	l.layer("base", "", archived(l, h, file("a", "")))
	l.layer("upper", "base", archived(l, file("b", "")))
	check := func(root string) error {
		var st unix.Stat_t
		if err := unix.Stat(root, &st); err != nil {
			return err
		}
		if st.Mode&0o7777 != 0o1777 || st.Uid != 1 || st.Gid != 2 {
			return fmt.Errorf("root has mode %#o, owner %d:%d, want 01777, 1:2", st.Mode&0o7777, st.Uid, st.Gid)
		}
		return nil
	}
	l.inside(l.prepare("over-base", "base"), check)
	l.inside(l.prepare("over-upper", "upper"), check)
	l.look("upper", check)
}

func prepareAgain(l *storageLab) {
	l.base()
	o := storage.PrepareOptions{Labels: map[string]string{"k": "v"}}
	for _, make := range []struct {
		key storage.SnapshotKey
		do  storageMake
	}{{"active", l.d.Prepare}, {"view", l.d.View}} {
		first, err := make.do(l.ctx, make.key, "base", o)
		l.NoError(err, "the first time")
		for range 3 {
			again, err := make.do(l.ctx, make.key, "base", o)
			l.NoError(err, "again")
			if !reflect.DeepEqual(first, again) {
				l.Fatalf("%s: mounts were %v, now %v", make.key, first, again)
			}
		}
	}
}

func keyInUse(l *storageLab) {
	l.base()
	l.prepare("a", "base")
	l.view("v", "base")
	_, err := l.d.Prepare(l.ctx, "a", "", storage.PrepareOptions{})
	l.ErrorIs(err, errdefs.ErrAlreadyExists, "prepare with another parent")
	_, err = l.d.Prepare(l.ctx, "a", "base", storage.PrepareOptions{Labels: map[string]string{"k": "v"}})
	l.ErrorIs(err, errdefs.ErrAlreadyExists, "prepare with other labels")
	_, err = l.d.View(l.ctx, "a", "base", storage.PrepareOptions{})
	l.ErrorIs(err, errdefs.ErrAlreadyExists, "view under an active snapshot's key")
	_, err = l.d.Prepare(l.ctx, "v", "base", storage.PrepareOptions{})
	l.ErrorIs(err, errdefs.ErrAlreadyExists, "prepare under a view's key")
	_, err = l.d.Prepare(l.ctx, "base", "", storage.PrepareOptions{})
	l.ErrorIs(err, errdefs.ErrAlreadyExists, "prepare under a committed snapshot's key")
}

func badParents(l *storageLab) {
	l.base()
	l.prepare("active", "")
	l.view("view", "base")
	for _, make := range []storageMake{l.d.Prepare, l.d.View} {
		_, err := make(l.ctx, "x", "nobody", storage.PrepareOptions{})
		l.ErrorIs(err, errdefs.ErrNotFound, "over an unknown parent")
		for _, parent := range []storage.SnapshotKey{"active", "view"} {
			_, err = make(l.ctx, "x", parent, storage.PrepareOptions{})
			l.ErrorIs(err, errdefs.ErrFailedPrecondition, "over parent "+string(parent))
		}
	}
	_, err := l.d.Stat(l.ctx, "x")
	l.ErrorIs(err, errdefs.ErrNotFound, "stat what was refused")
}

func keys(l *storageLab) {
	long := strings.Repeat("k", 255)
	for _, key := range []storage.SnapshotKey{"", "a/b", "/", "a\nb", "a\x00b", "ä", "a\x7f", storage.SnapshotKey(long + "k")} {
		_, err := l.d.Prepare(l.ctx, key, "", storage.PrepareOptions{})
		l.ErrorIs(err, errdefs.ErrInvalidArgument, fmt.Sprintf("prepare %q", key))
	}
	for _, key := range []storage.SnapshotKey{".", "..", "a b", "-rf", "~", "sha256:0", `\:,="'$(id)%s*`, storage.SnapshotKey(long)} {
		mounts := l.prepare(key, "")
		l.inside(mounts, func(root string) error { return write(root, "f", string(key)) })
		l.commit("layer", key)
		l.inside(l.prepare(key, "layer"), func(root string) error { return want(root, "f", string(key)) })
		l.NoError(l.d.Remove(l.ctx, key), "remove")
		l.NoError(l.d.Remove(l.ctx, "layer"), "remove")
	}
}

func sizeLimit(l *storageLab) {
	mounts, err := l.d.Prepare(l.ctx, "a", "", storage.PrepareOptions{SizeLimit: 4 << 20})
	if !l.has(storage.CapQuota) {
		l.ErrorIs(err, errdefs.ErrNotImplemented, "prepare with a size limit and no quotas")
		return
	}
	l.NoError(err, "prepare with a size limit")
	l.inside(mounts, func(root string) error {
		err := os.WriteFile(root+"/f", make([]byte, 8<<20), 0o600)
		if !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("write more than the limit: %w, want no space", err)
		}
		return nil
	})
}

func viewReadOnly(l *storageLab) {
	l.base()
	l.layer("upper", "base", archived(l, file("top", "upper")))
	for i, parent := range []storage.SnapshotKey{"base", "upper"} {
		l.inside(l.view(storage.SnapshotKey(fmt.Sprintf("v%d", i)), parent), func(root string) error {
			err := os.WriteFile(root+"/new", nil, 0o600)
			if !errors.Is(err, unix.EROFS) {
				return fmt.Errorf("write: %w, want read-only", err)
			}
			if err := os.Remove(root + "/kept"); !errors.Is(err, unix.EROFS) {
				return fmt.Errorf("remove: %w, want read-only", err)
			}
			return want(root, "kept", "base")
		})
	}
	l.inside(l.view("empty", ""), func(root string) error { return wantAbsent(root, "kept") })
}

func mountsAgain(l *storageLab) {
	l.base()
	active, view := l.prepare("a", "base"), l.view("v", "base")
	for range 3 {
		again, err := l.d.Mounts(l.ctx, "a")
		l.NoError(err, "mounts of an active snapshot")
		if !reflect.DeepEqual(active, again) {
			l.Errorf("mounts were %v, now %v", active, again)
		}
		again, err = l.d.Mounts(l.ctx, "v")
		l.NoError(err, "mounts of a view")
		if !reflect.DeepEqual(view, again) {
			l.Errorf("mounts were %v, now %v", view, again)
		}
	}
	_, err := l.d.Mounts(l.ctx, "nobody")
	l.ErrorIs(err, errdefs.ErrNotFound, "mounts of an unknown snapshot")
	_, err = l.d.Mounts(l.ctx, "base")
	l.ErrorIs(err, errdefs.ErrFailedPrecondition, "mounts of a committed snapshot")
}

func prepareAtOnce(l *storageLab) {
	l.base()
	const n = 16
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			mounts, err := l.d.Prepare(l.ctx, storage.SnapshotKey(fmt.Sprintf("c%d", i)), "base", storage.PrepareOptions{})
			if err == nil {
				err = mounted(mounts, func(root string) error {
					return errors.Join(want(root, "kept", "base"), write(root, "mine", fmt.Sprint(i)))
				})
			}
			errs[i] = err
		})
	}
	all.Wait()
	l.NoError(errors.Join(errs...), "prepare at once")
	for i := range n {
		mounts, err := l.d.Mounts(l.ctx, storage.SnapshotKey(fmt.Sprintf("c%d", i)))
		l.NoError(err, "mounts")
		l.inside(mounts, func(root string) error { return want(root, "mine", fmt.Sprint(i)) })
	}
}

func prepareOneAtOnce(l *storageLab) {
	l.base()
	const n = 8
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _, errs[i] = l.d.Prepare(l.ctx, "one", "base", storage.PrepareOptions{}) })
	}
	all.Wait()
	l.NoError(errors.Join(errs...), "prepare at once")
	l.NoError(l.d.Remove(l.ctx, "one"), "remove")
	l.NoError(l.d.Remove(l.ctx, "base"), "remove the parent: nothing else counts as its child")
}

func longChain(l *storageLab) {
	const layers = 70
	var parent storage.SnapshotKey
	for i := range layers {
		name := storage.SnapshotKey(fmt.Sprintf("sha256:%064d", i))
		l.layer(name, parent, archived(l, file(fmt.Sprintf("f%d", i), fmt.Sprint(i)), file("last", fmt.Sprint(i))))
		parent = name
	}
	check := func(root string) error {
		var errs []error
		for i := range layers {
			errs = append(errs, want(root, fmt.Sprintf("f%d", i), fmt.Sprint(i)))
		}
		return errors.Join(append(errs, want(root, "last", fmt.Sprint(layers-1)))...)
	}
	l.look(parent, check)
	l.inside(l.prepare("top", parent), func(root string) error {
		return errors.Join(check(root), write(root, "f0", "mine"), want(root, "f0", "mine"))
	})
}

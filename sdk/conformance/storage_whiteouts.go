package conformance

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/storage"
)

func whiteoutCases() []storageCase {
	return []storageCase{
		{"a whiteout removes a file or a whole directory of the lower layers", whiteouts},
		{"a layer with nothing but whiteouts works", whiteoutsOnly},
		{"an opaque directory hides the lower one, wherever its mark stands", opaqueOrder},
		{"an opaque directory keeps what its layer has below it", opaqueDeep},
		{"a whiteout spares what its own layer makes under the name", recreated},
		{"a directory that replaces another shows nothing of it", replacedDirectory},
		{"an opaque root hides all lower layers", opaqueRoot},
		{"overlayfs's own whiteout, a character device 0/0, removes", rawWhiteout},
		{"a whiteout of nothing is harmless, in the lowest layer too", whiteoutNothing},
	}
}

// lower is a layer with two directories of three files each.
func (l *storageLab) lower() {
	l.layer("lower", "", archived(l,
		directory("a/", 0o750), file("a/1", "low"), file("a/2", "low"), directory("a/sub/", 0o755), file("a/sub/3", "low"),
		directory("b/", 0o750), file("b/1", "low"), file("b/2", "low"), file("top", "low")))
}

func whiteouts(l *storageLab) {
	l.lower()
	l.layer("layer", "lower", archived(l, file(".wh.top", ""), file("a/.wh.1", ""), file("a/.wh.sub", ""), file(".wh.b", "")))
	l.look("layer", func(root string) error {
		return errors.Join(wantAbsent(root, "top"), wantAbsent(root, "a/1"), wantAbsent(root, "a/sub"), wantAbsent(root, "b"),
			wantAbsent(root, ".wh.top"), wantAbsent(root, "a/.wh.1"), want(root, "a/2", "low"))
	})
	l.layer("over", "layer", archived(l, file("b/1", "new"), file("top", "new")))
	l.look("over", func(root string) error {
		return errors.Join(want(root, "top", "new"), want(root, "b/1", "new"), wantAbsent(root, "b/2"), wantAbsent(root, "a/1"))
	})
}

func whiteoutsOnly(l *storageLab) {
	l.lower()
	l.layer("layer", "lower", archived(l, file("a/sub/.wh.3", "")))
	l.look("layer", func(root string) error {
		return errors.Join(wantAbsent(root, "a/sub/3"), want(root, "a/1", "low"), wantMode(root, "a", unix.S_IFDIR|0o750))
	})
}

func opaqueOrder(l *storageLab) {
	l.lower()
	for name, entries := range map[storage.SnapshotKey][]entry{
		"first":    {file("a/.wh..wh..opq", ""), directory("a/", 0o700), file("a/1", "new"), file("a/new", "new")},
		"last":     {directory("a/", 0o700), file("a/1", "new"), file("a/new", "new"), file("a/.wh..wh..opq", "")},
		"between":  {directory("a/", 0o700), file("a/1", "new"), file("a/.wh..wh..opq", ""), file("a/new", "new")},
		"no-entry": {file("a/1", "new"), file("a/.wh..wh..opq", ""), file("a/new", "new")},
	} {
		l.layer(name, "lower", archived(l, entries...))
		l.look(name, func(root string) error {
			err := errors.Join(want(root, "a/1", "new"), want(root, "a/new", "new"), wantAbsent(root, "a/2"), wantAbsent(root, "a/sub"),
				wantAbsent(root, "a/.wh..wh..opq"), want(root, "b/1", "low"))
			if err != nil {
				return fmt.Errorf("mark %s: %w", name, err)
			}
			return nil
		})
	}
}

func opaqueDeep(l *storageLab) {
	l.layer("lower", "", archived(l, file("a/b/c/low", ""), file("a/b/low", ""), file("a/low", "")))
	l.layer("layer", "lower", archived(l, file("a/b/c/new", "new"), file("a/.wh..wh..opq", "")))
	l.look("layer", func(root string) error {
		return errors.Join(want(root, "a/b/c/new", "new"), wantAbsent(root, "a/low"))
	})
	l.layer("explicit", "lower", archived(l, directory("a/b/", 0o755), directory("a/b/c/", 0o755), file("a/b/c/new", "new"),
		file("a/.wh..wh..opq", ""), file("a/b/.wh..wh..opq", ""), file("a/b/c/.wh..wh..opq", "")))
	l.look("explicit", func(root string) error {
		return errors.Join(want(root, "a/b/c/new", "new"), wantAbsent(root, "a/low"), wantAbsent(root, "a/b/low"), wantAbsent(root, "a/b/c/low"))
	})
}

func recreated(l *storageLab) {
	l.lower()
	for name, entries := range map[storage.SnapshotKey][]entry{
		"before": {file(".wh.top", ""), file("top", "new"), file(".wh.a", ""), directory("a/", 0o700), file("a/1", "new")},
		"after":  {file("top", "new"), file(".wh.top", ""), directory("a/", 0o700), file("a/1", "new"), file(".wh.a", "")},
		"parent": {file(".wh.top", ""), file("top", "new"), file(".wh.a", ""), file("a/1", "new")},
	} {
		l.layer(name, "lower", archived(l, entries...))
		l.look(name, func(root string) error {
			err := errors.Join(want(root, "top", "new"), want(root, "a/1", "new"), wantAbsent(root, "a/2"), wantAbsent(root, "a/sub"))
			if err != nil {
				return fmt.Errorf("whiteout %s: %w", name, err)
			}
			return nil
		})
	}
}

func replacedDirectory(l *storageLab) {
	l.lower()
	l.layer("layer", "lower", archived(l, file("a", "file"), directory("a/", 0o700), file("a/1", "new")))
	l.look("layer", func(root string) error {
		return errors.Join(want(root, "a/1", "new"), wantAbsent(root, "a/2"), wantAbsent(root, "a/sub"))
	})
}

func opaqueRoot(l *storageLab) {
	l.lower()
	l.layer("layer", "lower", archived(l, file("new", "new"), file(".wh..wh..opq", "")))
	l.layer("over", "layer", archived(l, file("newer", "newer")))
	l.look("over", func(root string) error {
		return errors.Join(want(root, "new", "new"), want(root, "newer", "newer"), wantAbsent(root, "a"), wantAbsent(root, "top"))
	})
	l.look("layer", func(root string) error { return errors.Join(want(root, "new", "new"), wantAbsent(root, "top")) })
}

func rawWhiteout(l *storageLab) {
	l.lower()
	l.layer("layer", "lower", archived(l, node("top", tar.TypeChar, 0, 0), node("a/sub", tar.TypeChar, 0, 0)))
	l.look("layer", func(root string) error {
		return errors.Join(wantAbsent(root, "top"), wantAbsent(root, "a/sub"), want(root, "a/1", "low"))
	})
}

func whiteoutNothing(l *storageLab) {
	l.layer("lowest", "", archived(l, file(".wh.none", ""), file("d/.wh.none", ""), file("d/.wh..wh..opq", ""), file("f", "text")))
	check := func(root string) error {
		names, err := os.ReadDir(root + "/d")
		if err != nil || len(names) != 0 {
			return fmt.Errorf("d holds %v, %w", names, err)
		}
		return errors.Join(want(root, "f", "text"), wantAbsent(root, "none"))
	}
	l.look("lowest", check)
	l.inside(l.prepare("a", "lowest"), func(root string) error {
		return errors.Join(check(root), write(root, "none", "new"), want(root, "none", "new"))
	})
}

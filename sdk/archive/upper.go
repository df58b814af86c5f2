package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// DiffUpper writes an overlay's upper directory as a layer, in path order:
// whiteouts and opaque directories take their OCI form. lower are the layers
// below, top first; marks that hide nothing in them are left out, and so is the
// root when it is as in the topmost. Nobody may write to the overlay
// meanwhile.
func DiffUpper(ctx context.Context, w io.Writer, upper string, lower []string) (err error) {
	tree, err := openLevels(upper, lower)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.close()) }()
	u := &upperPacker{newPacker(ctx, w)}
	if err := u.root(tree.root); err != nil {
		return fmt.Errorf("diff %s: %w", upper, err)
	}
	return u.close()
}

type upperPacker struct{ *packer }

func (u *upperPacker) root(l level) error {
	root, err := openObject(l.upper, ".", ".")
	if err != nil {
		return err
	}
	opaque, err := isOpaque(root.path())
	if err != nil {
		return err
	}
	same := false
	if len(l.below) > 0 {
		top, err := openObject(l.below[0], ".", ".")
		if err != nil {
			return err
		}
		if same, err = sameMeta(top, root); err != nil {
			return err
		}
	}
	if !same {
		err = u.add(root)
	}
	if err == nil && opaque {
		err = u.mark(opaqueMarker)
	}
	if err != nil {
		return err
	}
	return u.children(l.upper, l)
}

// children writes what the directory holds; fd is open for reading.
func (u *upperPacker) children(fd int, l level) error {
	names, err := readNames(fd, 0)
	if err != nil {
		return fmt.Errorf("%s: read directory: %w", l.name, err)
	}
	gone := map[string]bool{}
	objects := make([]object, 0, len(names))
	for _, base := range names {
		o, err := openObject(fd, base, join(l.name, base))
		if err != nil {
			return err
		}
		gone[base] = isOverlayWhiteout(o.st)
		objects = append(objects, o)
	}
	sortObjects(objects, gone)
	for _, o := range objects {
		switch {
		case gone[o.base]:
			err = u.whiteout(l, o)
		case o.isDir():
			err = u.directory(l, o)
		default:
			err = u.add(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *upperPacker) whiteout(l level, o object) error {
	dirs, hides, err := l.below.child(o.base)
	if err := errors.Join(err, dirs.close()); err != nil || !hides {
		return err
	}
	return u.mark(join(l.name, whiteoutPrefix+o.base))
}

func (u *upperPacker) directory(l level, o object) (err error) {
	if err := u.add(o); err != nil {
		return err
	}
	fd, err := o.open(unix.O_DIRECTORY)
	if err != nil {
		return &EntryError{Entry: o.name, Err: err}
	}
	sub := level{name: o.name, upper: fd}
	defer func() { err = errors.Join(err, sub.close()) }()
	below, hides, err := l.below.child(o.base)
	if err != nil {
		return err
	}
	opaque, err := isOpaque(o.path())
	if err != nil {
		return errors.Join(err, below.close())
	}
	if !opaque {
		sub.below = below
		return u.children(fd, sub)
	}
	if err := below.close(); err != nil {
		return err
	}
	if hides {
		if err := u.mark(o.name + "/" + opaqueMarker); err != nil {
			return err
		}
	}
	return u.children(fd, sub)
}

// sortObjects sorts by the names in the layer.
func sortObjects(objects []object, gone map[string]bool) {
	name := func(o object) string {
		if gone[o.base] {
			return whiteoutPrefix + o.base
		}
		return o.base
	}
	slices.SortFunc(objects, func(a, b object) int { return strings.Compare(name(a), name(b)) })
}

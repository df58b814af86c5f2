package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// DiffUpper writes an overlay's upper directory as a layer, in path order:
// whiteouts and opaque directories take their OCI form. lower are the layers
// below, top first; marks that hide nothing in them are left out, and so is the
// root when it is as in the topmost. Nobody may write to the overlay
// meanwhile.
func DiffUpper(ctx context.Context, w io.Writer, upper string, lower []string) (err error) {
	below, err := openLayers(lower)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, below.close()) }()
	fd, err := openDir(upper)
	if err != nil {
		return fmt.Errorf("layer %s: open: %w", upper, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	u := &upperPacker{packer: newPacker(ctx, w), below: below}
	if err := u.root(fd); err != nil {
		return fmt.Errorf("diff %s: %w", upper, err)
	}
	return u.close()
}

type upperPacker struct {
	*packer
	below layers
}

func (u *upperPacker) root(fd int) error {
	root, err := openObject(fd, ".", ".")
	if err != nil {
		return err
	}
	if len(u.below) > 0 {
		top, err := openObject(u.below[0], ".", ".")
		if err != nil {
			return err
		}
		if same, err := sameMeta(top, root); err != nil || same {
			return errors.Join(err, u.children(fd, "."))
		}
	}
	if err := u.add(root); err != nil {
		return err
	}
	return u.children(fd, ".")
}

// children writes what the directory called name holds.
func (u *upperPacker) children(fd int, name string) error {
	gone := map[string]bool{}
	names, err := readNames(fd, 0)
	if err != nil {
		return fmt.Errorf("%s: read directory: %w", name, err)
	}
	objects := make([]object, 0, len(names))
	for _, base := range names {
		o, err := openObject(fd, base, join(name, base))
		if err != nil {
			return err
		}
		gone[base] = isOverlayWhiteout(o.st)
		objects = append(objects, o)
	}
	sortObjects(objects, gone)
	for _, o := range objects {
		if gone[o.base] {
			err = u.whiteout(name, o)
		} else {
			err = u.object(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *upperPacker) whiteout(dir string, o object) error {
	hides, err := u.below.has(o.name)
	if err != nil || !hides {
		return err
	}
	return u.mark(join(dir, whiteoutPrefix+o.base))
}

func (u *upperPacker) object(o object) (err error) {
	if err := u.add(o); err != nil || !o.isDir() {
		return err
	}
	fd, err := o.open(unix.O_DIRECTORY)
	if err != nil {
		return &EntryError{Entry: o.name, Err: err}
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := u.opaque(o); err != nil {
		return err
	}
	return u.children(fd, o.name)
}

func (u *upperPacker) opaque(o object) error {
	opaque, err := isOpaque(o.path())
	if err != nil || !opaque {
		return err
	}
	hides, err := u.below.has(o.name)
	if err != nil || !hides {
		return err
	}
	return u.mark(o.name + "/" + opaqueMarker)
}

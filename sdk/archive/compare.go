package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Diff writes, as a layer in path order, what makes the tree parent into the
// tree root. Both are plain trees, for example the mounts of two snapshots.
// Files are compared by their metadata, and by content when their times of
// modification have no parts of a second: then an archive may have cut them.
func Diff(ctx context.Context, w io.Writer, parent, root string) (err error) {
	from, err := openDir(parent)
	if err != nil {
		return fmt.Errorf("directory %s: open: %w", parent, err)
	}
	defer func() { err = errors.Join(err, unix.Close(from)) }()
	to, err := openDir(root)
	if err != nil {
		return fmt.Errorf("directory %s: open: %w", root, err)
	}
	defer func() { err = errors.Join(err, unix.Close(to)) }()
	d := &differ{packer: newPacker(ctx, w)}
	if err := d.root(from, to); err != nil {
		return fmt.Errorf("diff %s and %s: %w", parent, root, err)
	}
	return d.close()
}

// differ compares two trees.
type differ struct {
	*packer
	// above are the unchanged directories on the way to the present object.
	// They are written as soon as something in them is.
	above   []object
	written int // of above
	other   []byte
}

func (d *differ) root(from, to int) error {
	a, err := openObject(from, ".", ".")
	if err != nil {
		return err
	}
	b, err := openObject(to, ".", ".")
	if err != nil {
		return err
	}
	return d.both(a, b)
}

// both compares two objects of one name.
func (d *differ) both(a, b object) error {
	if err := context.Cause(d.ctx); err != nil {
		return err
	}
	same, err := d.same(a, b)
	if err != nil {
		return &EntryError{Entry: b.name, Err: err}
	}
	if !b.isDir() {
		if same {
			return nil
		}
		return d.changed(b)
	}
	if !same {
		if err := d.changed(b); err != nil {
			return err
		}
		return d.directories(a, b)
	}
	d.above = append(d.above, b)
	err = d.directories(a, b)
	d.above = d.above[:len(d.above)-1]
	d.written = min(d.written, len(d.above))
	return err
}

// changed writes an object, after the directories above it.
func (d *differ) changed(o object) error {
	if err := d.writeAbove(); err != nil {
		return err
	}
	return d.add(o)
}

func (d *differ) writeAbove() error {
	for ; d.written < len(d.above); d.written++ {
		dir := d.above[d.written]
		if dir.name == "." {
			continue // same, and always there
		}
		if err := d.add(dir); err != nil {
			return err
		}
	}
	return nil
}

// directories compares the children of b with those of a, if a is a directory.
func (d *differ) directories(a, b object) (err error) {
	to, err := b.open(unix.O_DIRECTORY)
	if err != nil {
		return &EntryError{Entry: b.name, Err: err}
	}
	defer func() { err = errors.Join(err, unix.Close(to)) }()
	if !a.isDir() {
		return d.merge(-1, to, b.name)
	}
	from, err := a.open(unix.O_DIRECTORY)
	if err != nil {
		return &EntryError{Entry: a.name, Err: err}
	}
	defer func() { err = errors.Join(err, unix.Close(from)) }()
	return d.merge(from, to, b.name)
}

// merge compares the directories from, -1 for none, and to.
func (d *differ) merge(from, to int, name string) error {
	old, err := namesOf(from)
	if err != nil {
		return fmt.Errorf("%s: read directory: %w", name, err)
	}
	present, err := namesOf(to)
	if err != nil {
		return fmt.Errorf("%s: read directory: %w", name, err)
	}
	for _, base := range inOrder(old, present) {
		if err := d.one(from, to, base, join(name, base), old[base], present[base]); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) one(from, to int, base, name string, was, is bool) error {
	if !is {
		if err := d.writeAbove(); err != nil {
			return err
		}
		parent, base := split(name)
		return d.mark(join(parent, whiteoutPrefix+base))
	}
	b, err := openObject(to, base, name)
	if err != nil {
		return err
	}
	a := object{name: name} // of no type: differs from all
	if was {
		if a, err = openObject(from, base, name); err != nil {
			return err
		}
	}
	return d.both(a, b)
}

func namesOf(fd int) (map[string]bool, error) {
	set := map[string]bool{}
	if fd < 0 {
		return set, nil
	}
	names, err := readNames(fd, 0)
	for _, name := range names {
		set[name] = true
	}
	return set, err
}

// inOrder returns the names of both sorted as the layer has them.
func inOrder(old, present map[string]bool) []string {
	names := slices.Collect(maps.Keys(present))
	for name := range old {
		if !present[name] {
			names = append(names, name)
		}
	}
	key := func(name string) string {
		if present[name] {
			return name
		}
		return whiteoutPrefix + name
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(key(a), key(b)) })
	return names
}

// same compares two objects of one name.
func (d *differ) same(a, b object) (bool, error) {
	if a.st.Dev == b.st.Dev && a.st.Ino == b.st.Ino && a.st.Mode != 0 {
		return true, nil
	}
	same, err := sameMeta(a, b)
	if !same || err != nil {
		return false, err
	}
	switch b.format() {
	case unix.S_IFLNK:
		from, err := readLink(a)
		if err != nil {
			return false, err
		}
		to, err := readLink(b)
		return from == to, err
	case unix.S_IFREG:
		if b.st.Mtim.Nsec != 0 {
			return true, nil
		}
		return d.sameContent(a, b)
	default:
		return true, nil
	}
}

// sameMeta compares all that stat(2) and the extended attributes say.
func sameMeta(a, b object) (bool, error) {
	if a.st.Mode != b.st.Mode || a.st.Uid != b.st.Uid || a.st.Gid != b.st.Gid ||
		a.st.Rdev != b.st.Rdev || a.st.Mtim != b.st.Mtim ||
		!b.isDir() && (a.st.Size != b.st.Size || a.st.Nlink != b.st.Nlink) {
		return false, nil
	}
	from, err := xattrs(a.path())
	if err != nil {
		return false, err
	}
	to, err := xattrs(b.path())
	return maps.Equal(from, to), err
}

func (d *differ) sameContent(a, b object) (same bool, err error) {
	if d.other == nil {
		d.other = make([]byte, copyBuffer)
	}
	from, err := a.open(0)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unix.Close(from)) }()
	to, err := b.open(0)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unix.Close(to)) }()
	for off := int64(0); off < b.st.Size; off += copyBuffer {
		x, err := preadAll(from, d.buf, off)
		if err != nil {
			return false, err
		}
		y, err := preadAll(to, d.other, off)
		if err != nil || !bytes.Equal(d.buf[:x], d.other[:y]) {
			return false, err
		}
	}
	return true, nil
}

func preadAll(fd int, b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Pread(fd, b[done:], off+int64(done))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

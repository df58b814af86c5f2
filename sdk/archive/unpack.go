package archive

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mishap"
)

const (
	readBuffer = 256 << 10
	copyBuffer = 128 << 10

	maxID    = 1<<32 - 2 // 2³²-1 leaves an owner as it is
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// Unpack applies an uncompressed layer to the directory root. It reads r to
// its end. When it fails, root is left half done; errors about an entry are
// EntryErrors, and wrap an InvalidError when the archive is at fault.
func Unpack(ctx context.Context, root string, r io.Reader, o Options) (res Result, err error) {
	dirs, err := openDirs(root)
	if err != nil {
		return Result{}, fmt.Errorf("directory %s: open: %w", root, err)
	}
	defer func() { err = errors.Join(err, dirs.close()) }()
	o.MaxSize, o.MaxEntries = cmp.Or(o.MaxSize, defaultMaxSize), cmp.Or(o.MaxEntries, defaultMaxEntries)
	u := &unpacker{
		ctx: ctx, opts: o, dirs: dirs,
		buf:      make([]byte, copyBuffer),
		times:    map[uint64][2]unix.Timespec{},
		implicit: map[uint64]string{},
		hiding:   map[uint64]string{},
	}
	dirs.leave = u.leave
	if o.Whiteouts == Delete {
		u.seen = newSeen()
	}
	in := bufio.NewReaderSize(r, readBuffer)
	if err := u.entries(tar.NewReader(in)); err != nil {
		return u.res, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // padding after the end mark
		return u.res, fmt.Errorf("read to the end: %w", err)
	}
	err = u.finish()
	return u.res, err
}

// unpacker is the state of one Unpack.
type unpacker struct {
	ctx  context.Context //nolint:containedctx // stands for one call
	opts Options
	dirs *dirCache
	buf  []byte
	res  Result

	// times are those of the directories that have an entry, by inode number:
	// of access, of modification. They are set each time a descriptor of the
	// directory is given up, and so after its last child.
	times map[uint64][2]unix.Timespec
	// implicit are directories made for want of an entry, by inode number.
	implicit map[uint64]string
	// hiding are directories that hold whiteouts, by inode number.
	hiding map[uint64]string
	// replaced: some directory or link was, and names may mean another.
	replaced bool
	// size adds up the files' sizes, holes counted.
	size int64
	// kept counts the bytes of names in implicit and hiding.
	kept     int
	rootSeen bool
	// seen holds what this archive made, in mode Delete only: whiteouts do
	// not touch it.
	seen *seen
}

func (u *unpacker) entries(tr *tar.Reader) error {
	for {
		if err := context.Cause(u.ctx); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return headerError(err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := u.entry(h, tr); err != nil {
			return &EntryError{Entry: h.Name, Err: blame(err)}
		}
	}
}

// blame tells what the archive asks and no kernel does from what only this
// machine cannot do.
func blame(err error) error {
	for _, no := range []error{unix.ENAMETOOLONG, unix.E2BIG, unix.ERANGE, unix.EMLINK, unix.ELOOP} {
		if errors.Is(err, no) {
			return invalidBy(err, "beyond what Linux allows")
		}
	}
	return err
}

func headerError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read a header: %w", invalidBy(err, "malformed archive"))
	}
	return fmt.Errorf("read a header: %w", err)
}

// entry applies one entry.
func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if aufsMeta(name) {
		return nil
	}
	if err := u.admit(h); err != nil {
		return err
	}
	mishap.Hit(mishap.LayerEntry)
	if err := u.dirs.sweep(); err != nil {
		return err
	}
	if name == "." {
		return u.rootEntry(h)
	}
	parent, base := split(name)
	dir, err := u.parent(parent)
	if err != nil {
		return err
	}
	switch {
	case base == opaqueMarker:
		return u.opaque(dir)
	case isWhiteout(base):
		return u.whiteout(dir, parent, base[len(whiteoutPrefix):])
	case h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0:
		// overlayfs's own whiteout, in a layer made by a plain tar of an
		// upper directory; it can mean nothing else in any mode.
		return u.whiteout(dir, parent, base)
	}
	if err := u.create(dir, name, base, h, content); err != nil {
		return err
	}
	u.seen.add(dir.ino, base)
	return nil
}

// admit counts an entry, and refuses what is no number of the kernel's: one cut
// to its size would mean another owner or device.
func (u *unpacker) admit(h *tar.Header) error {
	if u.res.Entries++; u.res.Entries > u.opts.MaxEntries {
		return &LimitError{What: "entries", Limit: u.opts.MaxEntries}
	}
	if h.FileInfo().Mode().IsRegular() && h.Typeflag != tar.TypeLink {
		if h.Size > u.opts.MaxSize-u.size {
			return &LimitError{What: "bytes of files", Limit: u.opts.MaxSize}
		}
		u.size += h.Size
	}
	for _, id := range []int{h.Uid, h.Gid} {
		if id < 0 || id > maxID {
			return invalid("owner %d, which is none: they go from 0 to %d", id, maxID)
		}
	}
	device := h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock
	if device && (h.Devmajor < 0 || h.Devmajor > maxMajor || h.Devminor < 0 || h.Devminor > maxMinor) {
		return invalid("device %d:%d, which is none: they go up to %d:%d", h.Devmajor, h.Devminor, maxMajor, maxMinor)
	}
	return nil
}

func (u *unpacker) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return invalid("the root is not a directory")
	}
	u.rootSeen = true
	return u.dirMeta(u.dirs.root, h)
}

// create makes the object that h describes, in place of what is there.
func (u *unpacker) create(dir *dirent, name, base string, h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return u.mkdir(dir, name, base, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.file(dir, base, h, content)
	case tar.TypeSymlink:
		if h.Linkname == "" {
			return invalid("symbolic link without a target")
		}
		make := func() error { return unix.Symlinkat(h.Linkname, dir.fd, base) }
		if err := u.replace(dir, base, make); err != nil {
			return fmt.Errorf("make symbolic link: %w", err)
		}
		return u.meta(dir, base, h)
	case tar.TypeLink:
		return u.link(dir, base, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		make := func() error { return unix.Mknodat(dir.fd, base, nodeMode(h), nodeDev(h)) }
		if err := u.replace(dir, base, make); err != nil {
			return fmt.Errorf("make node: %w", err)
		}
		return u.meta(dir, base, h)
	default:
		return invalid("unknown entry type %q", h.Typeflag)
	}
}

// replace runs make and, when something is in the way, again without it.
func (u *unpacker) replace(dir *dirent, base string, make func() error) error {
	err := ignoringEINTR(make)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := u.remove(dir, base); err != nil {
		return err
	}
	return ignoringEINTR(make)
}

// remove removes base with all that is below it. Descriptors that were found
// by way of it are forgotten.
func (u *unpacker) remove(dir *dirent, base string) error {
	st, err := lstatAt(dir.fd, base)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := removeAllAt(u.ctx, dir.fd, base, nil); err != nil {
		return fmt.Errorf("replace: %w", err)
	}
	u.seen.drop(dir.ino, base)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR, unix.S_IFLNK:
		u.dirs.forget()
		u.replaced = true
	}
	return nil
}

// leave gives a directory its times, after what was done in it.
func (u *unpacker) leave(d *dirent) error {
	ts, ok := u.times[d.ino]
	if !ok {
		return nil
	}
	if err := setFdTimes(d.fd, ts); err != nil {
		return fmt.Errorf("directory %.256q: %w", d.name, err)
	}
	return nil
}

// noteTimes remembers a directory's times. An archive of more directories than
// fit pays with the times of those that get a child later.
func (u *unpacker) noteTimes(ino uint64, ts [2]unix.Timespec) error {
	if len(u.times) >= maxTimes {
		if err := u.leaveAll(); err != nil {
			return err
		}
		clear(u.times)
	}
	u.times[ino] = ts
	return nil
}

// leaveAll sets the times of the directories that are open.
func (u *unpacker) leaveAll() error {
	errs := []error{u.leave(u.dirs.root)}
	for _, d := range u.dirs.open {
		errs = append(errs, u.leave(d))
	}
	return errors.Join(errs...)
}

// keep counts a name to be kept in mind.
func (u *unpacker) keep(name string) error {
	if u.kept += len(name); u.kept > maxNames {
		return invalid("more than %d MiB of directory names", maxNames>>20)
	}
	return nil
}

func (u *unpacker) finish() error {
	if err := errors.Join(u.dirs.sweep(), u.leaveAll()); err != nil || u.opts.Whiteouts != Overlay {
		return err
	}
	pending := &u.res.Pending
	if !u.rootSeen {
		pending.Implicit = []string{"."}
	}
	return errors.Join(u.list(u.implicit, &pending.Implicit), u.list(u.hiding, &pending.Whiteouts))
}

// list appends, sorted, those of the names that are still the same directory.
func (u *unpacker) list(names map[uint64]string, to *[]string) error {
	for ino, name := range names {
		if !u.replaced {
			*to = append(*to, name)
			continue
		}
		err := u.still(name, ino, func(*dirent) error {
			*to = append(*to, name)
			return nil
		})
		if err != nil {
			return &EntryError{Entry: name, Err: err}
		}
	}
	slices.Sort(*to)
	return nil
}

// still calls f when name is the directory ino, not replaced by a later entry.
func (u *unpacker) still(name string, ino uint64, f func(*dirent) error) error {
	if err := u.dirs.sweep(); err != nil {
		return err
	}
	d, err := u.dirs.find(name)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil
	case err != nil:
		return err
	case d.ino != ino:
		return nil
	}
	return f(d)
}

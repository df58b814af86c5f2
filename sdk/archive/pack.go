package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// Pack writes the tree at root as a layer without a parent, in path order.
func Pack(ctx context.Context, w io.Writer, root string) error {
	return DiffUpper(ctx, w, root, nil)
}

// packer writes a layer. Names are below the root, "." for the root itself.
type packer struct {
	ctx   context.Context //nolint:containedctx // stands for one call
	out   *bufio.Writer
	tw    *tar.Writer
	buf   []byte
	links map[inode]string // first names of files with several
}

type inode struct{ dev, ino uint64 }

func newPacker(ctx context.Context, w io.Writer) *packer {
	out := bufio.NewWriterSize(w, readBuffer)
	return &packer{ctx: ctx, out: out, tw: tar.NewWriter(out), buf: make([]byte, copyBuffer), links: map[inode]string{}}
}

func (p *packer) close() error { return errors.Join(p.tw.Close(), p.out.Flush()) }

// object is one file of a tree that is being packed.
type object struct {
	dir  int    // the directory that it is in
	base string // "." for the root
	name string // in the layer
	st   unix.Stat_t
}

func openObject(dir int, base, name string) (object, error) {
	st, err := lstatAt(dir, base)
	if err != nil {
		return object{}, &EntryError{Entry: name, Err: err}
	}
	return object{dir: dir, base: base, name: name, st: st}, nil
}

func (o object) path() string { return fdPath(o.dir) + "/" + o.base }

func (o object) format() uint32 { return o.st.Mode & unix.S_IFMT }

func (o object) isDir() bool { return o.format() == unix.S_IFDIR }

// open opens a directory or regular file.
func (o object) open(flags int) (int, error) {
	return openRetry(func() (int, error) {
		return unix.Openat(o.dir, o.base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
	})
}

// add writes one object. Sockets have no form in an archive and are left out.
func (p *packer) add(o object) error {
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	if o.format() == unix.S_IFSOCK {
		return nil
	}
	if isWhiteout(o.base) {
		return &EntryError{Entry: o.name, Err: invalid("name begins with %q, which marks removed files in layers: rename it", whiteoutPrefix)}
	}
	h, err := p.header(o)
	if err == nil {
		err = p.tw.WriteHeader(h)
	}
	if err == nil && h.Typeflag == tar.TypeReg {
		err = p.content(o)
	}
	if err != nil {
		return &EntryError{Entry: o.name, Err: err}
	}
	return nil
}

// mark writes an empty file, as whiteouts and opaque marks are.
func (p *packer) mark(name string) error {
	err := p.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, ModTime: time.Unix(0, 0)})
	if err != nil {
		return &EntryError{Entry: name, Err: err}
	}
	return nil
}

func (p *packer) header(o object) (*tar.Header, error) {
	h := &tar.Header{
		Name: o.name, Mode: int64(o.st.Mode & 0o7777), Uid: int(o.st.Uid), Gid: int(o.st.Gid),
		ModTime: time.Unix(o.st.Mtim.Unix()),
	}
	if h.ModTime.Nanosecond() != 0 {
		h.Format = tar.FormatPAX // the only one with parts of a second
	}
	if err := p.setType(h, o); err != nil {
		return nil, err
	}
	if h.Typeflag == tar.TypeLink {
		return h, nil
	}
	var err error
	h.PAXRecords, err = xattrRecords(o.path())
	return h, err
}

func (p *packer) setType(h *tar.Header, o object) (err error) {
	switch o.format() {
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, o.name+"/"
		return nil
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, o.st.Size
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		h.Linkname, err = readLink(o)
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if o.format() == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(o.st.Rdev)), int64(unix.Minor(o.st.Rdev))
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		return fmt.Errorf("unknown file type %#o", o.format())
	}
	if o.st.Nlink > 1 {
		p.hardLink(h, o)
	}
	return err
}

// hardLink makes h a link when the file was written under another name.
func (p *packer) hardLink(h *tar.Header, o object) {
	id := inode{o.st.Dev, o.st.Ino}
	first, ok := p.links[id]
	if !ok {
		p.links[id] = o.name
		return
	}
	h.Typeflag, h.Linkname, h.Size, h.Devmajor, h.Devminor = tar.TypeLink, first, 0, 0, 0
}

func readLink(o object) (string, error) {
	buf := make([]byte, maxName+1)
	n, err := unix.Readlinkat(o.dir, o.base, buf)
	if err != nil {
		return "", fmt.Errorf("read symbolic link: %w", err)
	}
	return string(buf[:n]), nil
}

// content copies a file as long as it was when it was looked at.
func (p *packer) content(o object) (err error) {
	if o.st.Size == 0 {
		return nil
	}
	fd, err := o.open(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	for left := o.st.Size; left > 0; {
		n, err := unix.Read(fd, p.buf[:min(left, int64(len(p.buf)))])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("read: %w: the file shrank meanwhile", io.ErrUnexpectedEOF)
		}
		if _, err := p.tw.Write(p.buf[:n]); err != nil {
			return err
		}
		if err := context.Cause(p.ctx); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

func join(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}

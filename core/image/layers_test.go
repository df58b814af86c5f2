package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	ggcrname "github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ggcrtar "github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/unpack"
	"github.com/strakehq/strake/sdk/storage"
)

// hostile is a layer that wants more than is its own.
type hostile struct {
	// make writes the tar; outside is a directory that it may try to reach.
	make func(t *testing.T, outside string) []byte
	// class that the refusal has; nil: the layer is kept, with what it wanted
	// left out or inside.
	class func(error) bool
	// look at what was unpacked, nil for nothing in particular.
	look func(root string) error
}

func (h hostile) layer(t *testing.T, outside string) v1.Layer {
	t.Helper()
	b := h.make(t, outside)
	l, err := ggcrtar.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func entriesOf(f func(outside string) []tar.Header) func(*testing.T, string) []byte {
	return func(t *testing.T, outside string) []byte {
		t.Helper()
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range f(outside) {
			h.ModTime, h.Mode = time.Unix(1e9, 0), max(h.Mode, 0o755)
			if h.Typeflag == tar.TypeReg {
				h.Size = 7
			}
			err := w.WriteHeader(&h)
			if err == nil && h.Size > 0 {
				_, err = io.WriteString(w, "written")
			}
			if err != nil {
				t.Fatalf("%.100s: %v", h.Name, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
}

func fixed(h ...tar.Header) func(*testing.T, string) []byte {
	return entriesOf(func(string) []tar.Header { return h })
}

func regular(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
func folder(name string) tar.Header  { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
func soft(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}

func hard(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
}

const up = "../../../../../../../../../../../.."

func hostileLayers() map[string]hostile {
	refused, tooLarge := errdefs.IsInvalidArgument, errdefs.IsOutOfRange
	return map[string]hostile{
		"a name that climbs":           {make: entriesOf(func(o string) []tar.Header { return []tar.Header{regular(up + o + "/new")} }), class: refused},
		"an absolute name":             {make: entriesOf(func(o string) []tar.Header { return []tar.Header{regular(o + "/canary")} })},
		"a soft link that leads out":   {make: entriesOf(func(o string) []tar.Header { return []tar.Header{soft("l", o), regular("l/canary"), regular("l/new")} }), class: refused},
		"a soft link that climbs":      {make: entriesOf(func(o string) []tar.Header { return []tar.Header{soft("l", up+o), regular("l/canary")} }), class: refused},
		"a hard link that leads out":   {make: entriesOf(func(o string) []tar.Header { return []tar.Header{hard("h", o+"/canary"), regular("h")} }), class: refused},
		"a hard link that climbs":      {make: entriesOf(func(o string) []tar.Header { return []tar.Header{hard("h", up+o+"/canary"), regular("h")} }), class: refused},
		"a hard link by way of a link": {make: entriesOf(func(o string) []tar.Header { return []tar.Header{soft("l", o), hard("h", "l/canary")} }), class: refused},
		"a directory that becomes a link": {make: entriesOf(func(o string) []tar.Header {
			return []tar.Header{folder("d"), regular("d/f"), soft("d", o), regular("d/canary"), folder("d/dir")}
		}), class: refused},
		"a link that becomes another": {make: entriesOf(func(o string) []tar.Header {
			return []tar.Header{folder("in"), soft("l", "in"), regular("l/a"), soft("l", o), regular("l/canary")}
		}), class: refused},
		"a whiteout above the root": {make: entriesOf(func(o string) []tar.Header { return []tar.Header{regular(up + o + "/.wh.canary")} }), class: refused},
		"a whiteout by way of a link": {make: entriesOf(func(o string) []tar.Header {
			return []tar.Header{soft("l", o), regular("l/.wh.canary"), regular("l/.wh..wh..opq")}
		}), class: refused},
		"a whiteout of the root":            {make: fixed(regular(".wh..")), class: refused},
		"the root as a file":                {make: fixed(regular(".")), class: refused},
		"soft links in a circle":            {make: fixed(soft("a", "b"), soft("b", "a"), regular("a/f")), class: refused},
		"hard links in a circle":            {make: fixed(hard("a", "b"), hard("b", "a")), class: refused},
		"a hard link to itself":             {make: fixed(hard("a", "a")), class: refused},
		"a hard link to a directory":        {make: fixed(folder("d"), hard("h", "d")), class: refused},
		"a hard link to a whiteout":         {make: fixed(regular("d/.wh.a"), hard("d/b", "d/a")), class: refused},
		"the same entries again":            {make: fixed(regular("a"), hard("b", "a"), regular("a"), folder("a"), hard("b", "b"), soft("a", "b"))},
		"a name of 64 KiB":                  {make: fixed(tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("n", 64<<10), Format: tar.FormatPAX}), class: refused},
		"a name of 64 KiB in pieces":        {make: fixed(tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("n/", 32<<10) + "f", Format: tar.FormatPAX}), class: refused},
		"a component of 300 bytes":          {make: fixed(regular("d/" + strings.Repeat("n", 300))), class: refused},
		"a directory of 300 bytes":          {make: fixed(regular(strings.Repeat("n", 300) + "/f")), class: refused},
		"a link target of 64 KiB":           {make: fixed(tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: strings.Repeat("n", 64<<10), Format: tar.FormatPAX}), class: refused},
		"a hard link target of 64 KiB":      {make: fixed(tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: strings.Repeat("n", 64<<10), Format: tar.FormatPAX}), class: refused},
		"an owner beyond 32 bits":           {make: fixed(tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1 << 32, Mode: 0o4755, Format: tar.FormatPAX}), class: refused},
		"an owner that means no change":     {make: fixed(tar.Header{Typeflag: tar.TypeReg, Name: "f", Gid: 1<<32 - 1, Format: tar.FormatPAX}), class: refused},
		"an owner below zero":               {make: fixed(tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: -1, Format: tar.FormatGNU}), class: refused},
		"a device that would be a whiteout": {make: fixed(tar.Header{Typeflag: tar.TypeChar, Name: "w", Devmajor: 1 << 12, Format: tar.FormatGNU}), class: refused},
		"a device beyond 32 bits":           {make: fixed(tar.Header{Typeflag: tar.TypeBlock, Name: "b", Devmajor: 8, Devminor: 1 << 20, Format: tar.FormatGNU}), class: refused},
		"device nodes": {
			make: fixed(tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8, Mode: 0o666}, tar.Header{Typeflag: tar.TypeFifo, Name: "fifo"}),
			look: func(root string) error {
				var st unix.Stat_t
				if err := unix.Lstat(root+"/sda", &st); err != nil {
					return err
				}
				if st.Mode&unix.S_IFMT != unix.S_IFBLK || unix.Major(st.Rdev) != 8 {
					return fmt.Errorf("sda is %o %d", st.Mode, st.Rdev)
				}
				return nil
			},
		},
		"forged marks of overlayfs": {
			make: fixed(forged(folder("d")), forged(regular("d/f")), forged(regular("meta"))),
			look: func(root string) error {
				for _, name := range []string{"d", "d/f", "meta"} {
					for _, attr := range []string{"opaque", "redirect", "metacopy"} {
						n, err := unix.Lgetxattr(root+"/"+name, "user.overlay."+attr, nil)
						if err == nil {
							return fmt.Errorf("%s has %d bytes of %s", name, n, attr)
						}
					}
				}
				if b, err := os.ReadFile(root + "/meta"); err != nil || string(b) != "written" {
					return fmt.Errorf("meta holds %q, error %w", b, err)
				}
				return nil
			},
		},
		"an attribute of 100 KiB":   {make: fixed(tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.user.x": strings.Repeat("x", 100<<10)}}), class: refused},
		"an attribute without name": {make: fixed(tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.": "x"}}), class: refused},
		"an attribute of no kind":   {make: fixed(tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.bogus": "x"}})},
		"a sparse giant":            {make: func(t *testing.T, _ string) []byte { return sparseGiant(t, "s", 1<<60) }, class: tooLarge},
		"a large sparse file": {
			make: func(t *testing.T, _ string) []byte { return sparseGiant(t, "s", 64<<20) },
			look: func(root string) error {
				var st unix.Stat_t
				if err := unix.Stat(root+"/s", &st); err != nil || st.Size != 64<<20 || st.Blocks*512 > 1<<20 {
					return fmt.Errorf("size %d, on disk %d, error %w", st.Size, st.Blocks*512, err)
				}
				return nil
			},
		},
		"zeros beyond the limit": {make: func(t *testing.T, _ string) []byte { return tarOf(t, "zeros", make([]byte, 12<<20)) }, class: tooLarge},
		"zeros after the end": {make: func(t *testing.T, _ string) []byte {
			return append(tarOf(t, "a", []byte("x")), make([]byte, 9<<20)...)
		}, class: tooLarge},
		"cut off in a file":   {make: func(t *testing.T, _ string) []byte { return tarOf(t, "a", make([]byte, 9000))[:5000] }, class: refused},
		"cut off in a header": {make: func(t *testing.T, _ string) []byte { return tarOf(t, "a", []byte{})[:300] }, class: refused},
		"something after the end": {make: func(t *testing.T, _ string) []byte {
			return append(tarOf(t, "a", []byte("x")), "trailing"...)
		}},
		"no tar at all": {make: func(*testing.T, string) []byte { return bytes.Repeat([]byte("no tar"), 1000) }, class: refused},
	}
}

// forged adds all marks that overlayfs knows to an entry.
func forged(h tar.Header) tar.Header {
	h.PAXRecords = map[string]string{}
	for _, ns := range []string{"trusted", "user"} {
		h.PAXRecords["SCHILY.xattr."+ns+".overlay.opaque"] = "y"
		h.PAXRecords["SCHILY.xattr."+ns+".overlay.redirect"] = "/../../etc"
		h.PAXRecords["SCHILY.xattr."+ns+".overlay.metacopy"] = "x"
		h.PAXRecords["SCHILY.xattr."+ns+".overlay.overlay.opaque"] = "y"
	}
	return h
}

// TestHostileLayers pulls each layer, and loads it from an archive, over a layer
// that has the same link out. Whatever becomes of it, nothing outside changes,
// and what is refused leaves nothing.
func TestHostileLayers(t *testing.T) {
	h := newHarness(t)
	limits := unpack.Options{Limits: unpack.Limits{Layer: 8 << 20, Image: 1 << 30}}
	h.unpacker = unpack.New(h.content, h, limits, h.log)
	n := 0
	for name, c := range hostileLayers() {
		n++
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			if err := os.WriteFile(outside+"/canary", []byte("sings"), 0o600); err != nil {
				t.Fatal(err)
			}
			lower := hostile{make: fixed(soft("d", outside), soft("l", outside), regular("plain"))}.layer(t, outside)
			img := imageOf(t, lower, c.layer(t, outside))
			before := tree(t, outside)
			ref := fmt.Sprintf("hostile-%d:1", n)
			h.upload(ref, img)
			c.judge(t, h, ref, "pull", h.Pull(t.Context(), images.PullOptions{Image: h.ref(ref)}, h.send))
			c.judge(t, h, "example.com/"+ref, "load", h.Load(t.Context(), archived(t, "example.com/"+ref, img), nil, h.send))
			if after := tree(t, outside); after != before {
				t.Errorf("the layer got out: %s became %s", before, after)
			}
			for _, r := range []string{h.ref(ref), "example.com/" + ref} {
				if c.class == nil {
					if _, err := h.Remove(t.Context(), r, images.RemoveOptions{Force: true}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	h.leavesNothing()
}

func archived(t *testing.T, tag string, img v1.Image) io.Reader {
	t.Helper()
	ref, err := ggcrname.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := ggcrtar.Write(ref, img, &b); err != nil {
		t.Fatal(err)
	}
	return &b
}

func (c hostile) judge(t *testing.T, h *harness, ref, how string, err error) {
	t.Helper()
	switch {
	case c.class != nil && (err == nil || !c.class(err) || len(err.Error()) > 2000):
		t.Errorf("%s: error is %v", how, err)
	case c.class == nil && err != nil:
		t.Errorf("%s: refused: %v", how, err)
	case err != nil:
		t.Logf("%s: %v", how, err)
	case c.look != nil:
		full := ref
		if how == "pull" {
			full = h.ref(ref)
		}
		h.inside(t, full, c.look)
	}
}

// inside shows f the root of an image.
func (h *harness) inside(t *testing.T, ref string, f func(root string) error) {
	t.Helper()
	img, err := h.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	s, key := h.Storage(), storage.SnapshotKey("inside-"+short(img.ID))
	mounts, err := s.View(t.Context(), key, img.ChainID, storage.PrepareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := unpack.Mounted(t.Context(), mounts, f); err != nil {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), key); err != nil {
		t.Error(err)
	}
}

// tree describes a directory, times of change and links too.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		err = unix.Lstat(path, &st)
		fmt.Fprintf(&b, "%s %o %d:%d %d %d %v;", path, st.Mode, st.Uid, st.Gid, st.Size, st.Nlink, st.Ctim)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

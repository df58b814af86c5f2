package image

import (
	"archive/tar"
	"bytes"
	"context"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/content"
	"github.com/strakehq/strake/core/unpack"
)

// FuzzReadArchive is fed what a client of docker load sends.
func FuzzReadArchive(f *testing.F) {
	for _, entries := range [][]tar.Header{
		{{Typeflag: tar.TypeReg, Name: "manifest.json", Size: 2}, {Typeflag: tar.TypeReg, Name: "a/layer.tar", Size: 2}, {Typeflag: tar.TypeSymlink, Name: "b/layer.tar", Linkname: "../a/layer.tar"}},
		{{Typeflag: tar.TypeReg, Name: "../../etc/passwd", Size: 2}, {Typeflag: tar.TypeLink, Name: "x", Linkname: "/y"}, {Typeflag: tar.TypeLink, Name: "y", Linkname: "x"}},
		{{Typeflag: tar.TypeReg, Name: "blobs/sha256/0000", Size: 2}},
		{{Typeflag: tar.TypeReg, Name: "s", Size: 2, PAXRecords: map[string]string{"comment": "x"}}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range entries {
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			if _, err := w.Write([]byte("[]")[:h.Size]); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("\x1f\x8b\x08"))
	c, err := content.Open(f.TempDir(), "boot")
	if err != nil {
		f.Fatal(err)
	}
	// A sparse file's zeros are written out: not by the gigabyte here.
	s := &Service{content: c, c: Config{Unpack: unpack.Options{Limits: unpack.Limits{Image: 1 << 20}}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := s.readArchive(context.Background(), bytes.NewReader(data), func(digest.Digest) error { return nil })
		if err == nil {
			consistent(t, c, files)
		}
		if _, err := c.Collect(t.Context(), func(digest.Digest) bool { return false }); err != nil {
			t.Fatal(err)
		}
	})
}

func consistent(t *testing.T, c *content.Store, files archiveFiles) {
	t.Helper()
	for name := range files.files {
		if d, ok := files.find(name); !ok || !c.Has(d.Digest) {
			t.Errorf("%q is not there", name)
		}
		if name != cleanName(name) {
			t.Errorf("name %q", name)
		}
	}
	for name := range files.links {
		files.find(name)
	}
}

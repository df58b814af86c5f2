package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/strakehq/strake/test/testkit/debimage"
)

// shape says how an image looks from outside.
type shape struct {
	files  int
	bytes  int64
	layers []float64 // shares of the bytes
}

// file is one that is installed on this machine.
type file struct {
	path string
	size int64
}

// candidates are the regular files below /usr, by path.
func candidates() (all []file, err error) {
	err = filepath.WalkDir("/usr", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && st.Size() < 32<<20 {
			all = append(all, file{p, st.Size()})
		}
		return err
	})
	return all, err
}

// pick takes every nth file, and exchanges the smallest for large ones until
// they are as many bytes as wanted.
func (s shape) pick(all []file) ([]file, error) {
	if len(all) < s.files {
		return nil, fmt.Errorf("%d files are installed below /usr, %d are needed", len(all), s.files)
	}
	step := float64(len(all)) / float64(s.files)
	taken := make([]bool, len(all))
	var sum int64
	for i := range s.files {
		n := int(float64(i) * step)
		taken[n] = true
		sum += all[n].size + 512
	}
	bySize := make([]int, len(all))
	for i := range bySize {
		bySize[i] = i
	}
	slices.SortFunc(bySize, func(a, b int) int { return int(all[a].size - all[b].size) })
	small, large := 0, len(bySize)-1
	grow := sum < s.bytes
	if !grow { // the other way round: large files for small ones
		slices.Reverse(bySize)
	}
	for (sum < s.bytes) == grow && small < large {
		switch {
		case !taken[bySize[small]]:
			small++
		case taken[bySize[large]]:
			large--
		default:
			taken[bySize[small]], taken[bySize[large]] = false, true
			sum += all[bySize[large]].size - all[bySize[small]].size
		}
	}
	var picked []file
	for i, f := range all {
		if taken[i] {
			picked = append(picked, f)
		}
	}
	return picked, nil
}

func (s shape) image(all []file) (v1.Image, error) {
	picked, err := s.pick(all)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux", RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Cmd: []string{"/bin/true"}},
	})
	if err != nil {
		return nil, err
	}
	for _, share := range s.layers {
		var t *debimage.Tree
		t, picked, err = take(picked, int64(share*float64(s.bytes)))
		if err != nil {
			return nil, err
		}
		l, err := layer(t)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: l, MediaType: types.OCILayer}); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// take makes a layer of the first files, and returns the others.
func take(files []file, size int64) (*debimage.Tree, []file, error) {
	t := debimage.NewTree()
	dirs := map[string]bool{}
	for i, f := range files {
		if size <= 0 {
			return t, files[i:], nil
		}
		body, err := os.ReadFile(f.path)
		if err != nil {
			return nil, nil, err
		}
		for d := filepath.Dir(f.path); d != "/" && !dirs[d]; d = filepath.Dir(d) {
			dirs[d] = true
			t.Dir(strings.TrimPrefix(d, "/"), 0o755)
		}
		t.Add(tar.Header{
			Name: strings.TrimPrefix(f.path, "/"), Typeflag: tar.TypeReg, Mode: 0o644,
			ModTime: time.Unix(1_700_000_000, 0),
		}, body)
		size -= int64(len(body)) + 512
	}
	return t, nil, nil
}

func layer(t *debimage.Tree) (v1.Layer, error) {
	data, err := t.Tar()
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.DefaultCompression))
}

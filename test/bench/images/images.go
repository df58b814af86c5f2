// Package images fills a registry's storage with the images that are measured:
// those of the tests, and larger ones made from the files that are installed on
// this machine, so that they compress as software does.
package images

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/strakehq/strake/test/testkit"
	"github.com/strakehq/strake/test/testkit/debimage"
)

// Apps is how many images share a base.
const Apps = 10

// shapes are the made images: how large their layers are together, and how that
// is shared out, as in images of compilers and of servers.
var shapes = map[string]shape{
	"big": {files: 31_500, bytes: 1_056 << 20, layers: []float64{0.34, 0.25, 0.2, 0.03, 0.08, 0.1}},
	"ngx": {files: 4_500, bytes: 121 << 20, layers: []float64{0.62, 0.3, 0.05, 0.03}},
}

// Fill makes the storage directory below build, unless it is there, and returns
// it.
func Fill(ctx context.Context, build string) (dir string, err error) {
	dir = filepath.Join(build, "bench-registry")
	return dir, testkit.Fill(ctx, dir, func(addr string) error {
		for _, n := range debimage.Names() {
			idx, err := debimage.Build(ctx, n, filepath.Join(build, "debs"))
			if err != nil {
				return err
			}
			if err := push(addr, n, idx); err != nil {
				return err
			}
		}
		return fillMade(addr)
	})
}

func fillMade(addr string) error {
	all, err := candidates()
	if err != nil {
		return err
	}
	for n, s := range shapes {
		img, err := s.image(all)
		if err != nil {
			return fmt.Errorf("image %s: %w", n, err)
		}
		if err := push(addr, n, img); err != nil {
			return err
		}
		if n == "ngx" {
			if err := fillApps(addr, img); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillApps makes images of a base and one small layer of their own.
func fillApps(addr string, base v1.Image) error {
	for i := range Apps {
		n := fmt.Sprintf("app%d", i)
		t := debimage.NewTree()
		for j := range 50 {
			t.File(fmt.Sprintf("app/%s/%d", n, j), strings.Repeat(fmt.Sprintf("%s, line %d\n", n, j), 500))
		}
		l, err := layer(t)
		if err != nil {
			return err
		}
		img, err := mutate.AppendLayers(base, l)
		if err != nil {
			return err
		}
		if err := push(addr, n, img); err != nil {
			return err
		}
	}
	return nil
}

func push(addr, image string, what remote.Taggable) error {
	ref, err := name.ParseReference(addr+"/library/"+image+":latest", name.Insecure)
	if err != nil {
		return err
	}
	switch x := what.(type) {
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, x)
	case v1.Image:
		err = remote.Write(ref, x)
	}
	if err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	return nil
}

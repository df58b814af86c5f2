package unpack

import (
	"cmp"
	"fmt"
	"sync/atomic"

	"github.com/containerd/errdefs"
)

// Limits bound what an image may grow to. Sizes are in bytes; zero is the
// default.
type Limits struct {
	// Layer bounds one unpacked layer: 128 GiB.
	Layer int64
	// Image bounds the layers of one image together, as they are fetched and
	// as they are unpacked, and an archive that is loaded: 512 GiB.
	Image int64
	// Expansion bounds how many bytes may come of one that the manifest
	// declares: 1100, which is a little more than gzip can do. Layers up to
	// 1 GiB do not count.
	Expansion int64
}

const (
	defaultLayer     = 128 << 30
	defaultImage     = 512 << 30
	defaultExpansion = 1100
	// freely is what any layer may expand to, however small it is.
	freely = 1 << 30
)

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	return Limits{
		Layer: cmp.Or(l.Layer, defaultLayer), Image: cmp.Or(l.Image, defaultImage),
		Expansion: cmp.Or(l.Expansion, defaultExpansion),
	}
}

// declared checks what the manifest says of itself, before anything is fetched.
func (l Limits) declared(layers []Layer) error {
	total := int64(0)
	for _, y := range layers {
		if y.Blob.Size > l.Layer {
			return fmt.Errorf("layer %s: has %d bytes, the limit (images.max_layer_size) is %d: %w", y.Blob.Digest, y.Blob.Size, l.Layer, errdefs.ErrOutOfRange)
		}
		if total += y.Blob.Size; total > l.Image {
			return fmt.Errorf("layers of more than %d bytes together (images.max_image_size): %w", l.Image, errdefs.ErrOutOfRange)
		}
	}
	return nil
}

// budget is what the unpacked form of one layer may take.
type budget struct {
	most  int64  // bytes of this layer
	limit string // which limit that is
	taken int64
	image *atomic.Int64 // bytes of all layers of the image
	of    int64
}

func (l Limits) budget(declared int64, image *atomic.Int64) *budget {
	b := &budget{most: l.Layer, limit: "images.max_layer_size", image: image, of: l.Image}
	if free := max(declared, freely/l.Expansion); free < l.Layer/l.Expansion {
		b.most, b.limit = max(free*l.Expansion, freely), "images.max_layer_expansion times the size in the manifest"
	}
	return b
}

// giveBack uncounts a layer that came to nothing.
func (b *budget) giveBack() { b.image.Add(-b.taken) }

// take counts n bytes.
func (b *budget) take(n int) error {
	if b.taken += int64(n); b.taken > b.most {
		return fmt.Errorf("unpacked layer is larger than the limit of %d bytes (%s): %w", b.most, b.limit, errdefs.ErrOutOfRange)
	}
	if b.image.Add(int64(n)) > b.of {
		return fmt.Errorf("unpacked image is larger than the limit of %d bytes (images.max_image_size): %w", b.of, errdefs.ErrOutOfRange)
	}
	return nil
}

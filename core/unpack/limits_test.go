package unpack

import (
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds are what the configuration says: of a layer, of what may come of a
// declared byte, of all layers together.
func TestBoundsOfALayer(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		limits   Limits
		declared int64
		want     int64
	}{
		"a small layer may be 1 GiB":             {Limits{}, 100, freely},
		"a large one its size times the factor":  {Limits{}, 10 * mib, 11000 * mib},
		"but no more than a layer":               {Limits{}, 10 << 30, defaultLayer},
		"even where that is less than 1 GiB":     {Limits{Layer: mib}, 100, mib},
		"a factor of one is for plain tar":       {Limits{Expansion: 1}, 5 << 30, 5 << 30},
		"a declared size that overflows is held": {Limits{}, 1<<63 - 1, defaultLayer},
	} {
		var all atomic.Int64
		if got := c.limits.WithDefaults().budget(c.declared, &all).most; got < c.want || got > c.want+defaultExpansion {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestBoundsOfAnImageCountAllItsLayers(t *testing.T) {
	l := Limits{Layer: 100, Image: 150}.WithDefaults()
	var all atomic.Int64
	first, second := l.budget(1, &all), l.budget(1, &all)
	if err := first.take(100); err != nil {
		t.Error(err)
	}
	if err := second.take(60); !errdefs.IsOutOfRange(err) {
		t.Errorf("160 of 150 bytes: error is %v", err)
	}
	second.giveBack()
	if err := l.budget(1, &all).take(50); err != nil {
		t.Errorf("a layer that failed counts on: %v", err)
	}
	big := Layer{Blob: ocispec.Descriptor{Size: 1<<63 - 1}}
	for _, layers := range [][]Layer{{big}, {{Blob: ocispec.Descriptor{Size: 90}}, {Blob: ocispec.Descriptor{Size: 90}}}} {
		if err := l.declared(layers); !errdefs.IsOutOfRange(err) {
			t.Errorf("%d layers: error is %v", len(layers), err)
		}
	}
}

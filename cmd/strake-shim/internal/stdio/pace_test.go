package stdio

import (
	"testing"
	"time"
)

func TestOnlyLinesThatComeFastAreGathered(t *testing.T) {
	var p pace
	for n := range manyAtOnce {
		if d := p.pause(50*time.Microsecond, 90); d != 0 {
			t.Fatalf("line %d is waited for %s", n, d)
		}
	}
	// From now on lines have gathered whenever they are read.
	for range 3 {
		if d := p.pause(0, 1500); d != gather {
			t.Fatalf("lines that come fast wait %s, want %s", d, gather)
		}
	}
	for _, c := range []struct {
		name   string
		waited time.Duration
		fresh  int
	}{
		{"a line after a pause", time.Second, 90},
		{"a stream of bytes", 0, enough},
	} {
		p.fast = manyAtOnce
		if d := p.pause(c.waited, c.fresh); d != 0 {
			t.Errorf("%s: %s", c.name, d)
		}
		if d := p.pause(0, 90); d != 0 {
			t.Errorf("the line after %s: %s", c.name, d)
		}
	}
}

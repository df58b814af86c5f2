package stdio

import (
	"testing"
	"time"
)

func TestOnlySmallPiecesThatComeFastAreGathered(t *testing.T) {
	var p pace
	busy := func() bool { return p.quick == settled }
	for range settled {
		if busy() {
			t.Fatal("gathers before it is settled")
		}
		p.note(50*time.Microsecond, 90)
	}
	if !busy() {
		t.Error("does not gather what comes piece by piece")
	}
	p.note(0, 3000) // what came in a millisecond
	if !busy() {
		t.Error("stops to gather because it has gathered")
	}
	for what, other := range map[string]struct {
		waited time.Duration
		fresh  int
	}{"a pause": {5 * time.Millisecond, 90}, "much at once": {0, smallRead + 1}, "the end": {0, 0}} {
		p.quick = settled
		if p.note(other.waited, other.fresh); busy() {
			t.Errorf("gathers after %s", what)
		}
	}
}

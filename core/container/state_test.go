package container

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/containerd/errdefs"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestEveryOperationInEveryStatus visits the whole table, and compares it with
// what a person has read and found right.
func TestEveryOperationInEveryStatus(t *testing.T) {
	m := &Manager{table: transitions()}
	var got bytes.Buffer
	for _, o := range operations() {
		for _, s := range statuses() {
			if _, ok := m.table[o][s]; !ok {
				t.Errorf("%s of a container that is %s: no entry", o, s)
				continue
			}
			is, err := m.next("ID", s, o)
			switch {
			case err == nil:
				fmt.Fprintf(&got, "%-15s %-11s → %s\n", o, s, is)
			case errdefs.IsNotModified(err):
				fmt.Fprintf(&got, "%-15s %-11s   not modified: %v\n", o, s, err)
			case errdefs.IsConflict(err):
				fmt.Fprintf(&got, "%-15s %-11s   conflict: %v\n", o, s, err)
			default:
				t.Errorf("%s of a container that is %s: unexpected class of %v", o, s, err)
			}
			if err != nil && is != s {
				t.Errorf("%s of a container that is %s is refused and yet leads to %s", o, s, is)
			}
		}
	}
	const golden = "testdata/transitions.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the table differs from %s, run with -update and read the difference:\n%s", golden, got.String())
	}
}

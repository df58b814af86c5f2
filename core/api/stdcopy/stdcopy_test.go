package stdcopy

import (
	"bytes"
	"strings"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
)

func TestClientsReadWhatWasWritten(t *testing.T) {
	var wire, out, errs bytes.Buffer
	long := strings.Repeat("x", 3*maxFrame+7)
	for _, p := range []string{"a", "", long} {
		if n, err := (Writer{&wire, stdcopy.Stdout}).Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(p), err)
		}
	}
	if _, err := (Writer{&wire, stdcopy.Stderr}).Write([]byte("oops")); err != nil {
		t.Fatal(err)
	}
	if _, err := stdcopy.StdCopy(&out, &errs, &wire); err != nil {
		t.Fatal(err)
	}
	if out.String() != "a"+long || errs.String() != "oops" {
		t.Errorf("got %d bytes and %q", out.Len(), errs.String())
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("hello"), []byte("world"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var wire, out, errs bytes.Buffer
		for _, w := range []struct {
			stream stdcopy.StdType
			p      []byte
		}{{stdcopy.Stdout, a}, {stdcopy.Stderr, b}} {
			if _, err := (Writer{&wire, w.stream}).Write(w.p); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stdcopy.StdCopy(&out, &errs, &wire); err != nil || !bytes.Equal(out.Bytes(), a) || !bytes.Equal(errs.Bytes(), b) {
			t.Errorf("got %q %q, %v", out.Bytes(), errs.Bytes(), err)
		}
	})
}

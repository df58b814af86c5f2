package plugin_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strakehq/strake/sdk/storage"
)

func TestADriverAnswersAsIfItWereNoOtherProcess(t *testing.T) {
	c, s := launch(t, "full")
	m, err := s.Prepare(t.Context(), "k", "parent", storage.PrepareOptions{Labels: map[string]string{"l": "label"}})
	if err != nil || m[0].Source != "parent" || m[0].Options[0] != "label" {
		t.Fatal(m, err)
	}
	a, err := s.(storage.Applier).Apply(t.Context(), "k", io.LimitReader(zeros{}, 10<<20))
	if err != nil || a.Bytes != 10<<20 {
		t.Fatal(a, err)
	}
	var b bytes.Buffer
	if err := s.(storage.Differ).Diff(t.Context(), "k", &b); err != nil || b.Len() != 3<<20 {
		t.Fatal(err, b.Len())
	}
	want := "storage.quota storage.apply storage.diff"
	var got []string
	for _, c := range c.Info().Capabilities {
		got = append(got, string(c))
	}
	if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
		t.Fatal(d)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func BenchmarkLaunch(b *testing.B) {
	for b.Loop() {
		c, _ := launch(b, "full")
		c.Kill()
	}
}

func BenchmarkCall(b *testing.B) {
	_, s := launch(b, "full")
	for b.Loop() {
		if _, err := s.Stat(b.Context(), "k"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	_, s := launch(b, "full")
	const size = 256 << 20
	b.SetBytes(size)
	for b.Loop() {
		if _, err := s.(storage.Applier).Apply(b.Context(), "k", io.LimitReader(zeros{}, size)); err != nil {
			b.Fatal(err)
		}
	}
}

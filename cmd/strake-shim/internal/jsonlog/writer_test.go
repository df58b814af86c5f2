package jsonlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type entry struct {
	Log, Stream string
	Time        time.Time
	Attrs       map[string]string
}

func entries(t *testing.T, paths ...string) (all []entry) {
	t.Helper()
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			var e entry
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%s: %q: %v", p, line, err)
			}
			all = append(all, e)
		}
	}
	return all
}

func config(t *testing.T) Config {
	d := t.TempDir()
	return Config{Path: filepath.Join(d, "log"), Journal: filepath.Join(d, "journal")}
}

func TestLinesAndPiecesBecomeEntries(t *testing.T) {
	c := config(t)
	c.Attrs = map[string]string{"b": "2", "a": "<1>"}
	w, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", MaxPiece)
	data := []byte("one\n\n" + long + "tail\n" + "rest")
	n := w.Write(Stdout, data, false)
	if n != len(data)-4 {
		t.Fatalf("took %d of %d", n, len(data))
	}
	w.Write(Stderr, []byte("err\n"), false)
	w.Write(Stdout, data[n:], true)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"one\n", "\n", long, "tail\n", "err\n", "rest"}
	got := entries(t, c.Path)
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i, e := range got {
		if e.Log != want[i] || e.Attrs["a"] != "<1>" || (e.Stream == "stderr") != (i == 4) || e.Time.IsZero() {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
}

func TestRotationKeepsTheGivenNumberOfFiles(t *testing.T) {
	c := config(t)
	c.MaxSize, c.MaxFiles = 1000, 3
	w, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		w.Write(Stdout, fmt.Appendf(nil, "line %d\n", i), false)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Path + ".3"); err == nil {
		t.Error("a fourth file")
	}
	got := entries(t, c.Path+".2", c.Path+".1", c.Path)
	for i, e := range got {
		if want := fmt.Sprintf("line %d\n", 100-len(got)+i); e.Log != want {
			t.Fatalf("entry %d is %q, want %q", i, e.Log, want)
		}
	}
	for _, p := range []string{c.Path + ".1", c.Path + ".2"} {
		if st, err := os.Stat(p); err != nil || st.Size() < 1000 || st.Size() > 1100 {
			t.Errorf("%s: %v %v", p, st.Size(), err)
		}
	}
}

// A writer that dies after it wrote entries and before it noted so is told from
// one that died before.
func TestResumeNeitherLosesNorDoubles(t *testing.T) {
	stream := []byte("a\nb\nc\nd\ne\n")
	for _, torn := range []string{"", `{"log":"c\n","str`} {
		c := config(t)
		w, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(Stdout, stream[:2], false)
		before := w.pos
		w.Write(Stdout, stream[2:4], false)
		w.journal.store(before)
		if _, err := w.file.WriteString(torn); err != nil {
			t.Fatal(err)
		}
		for range 3 { // dies again and again
			if w, err = Resume(c, true); err != nil {
				t.Fatal(err)
			}
		}
		from := w.Taken(Stdout)
		w.Write(Stderr, []byte("E\n"), false)
		w.Write(Stdout, stream[from:from+2], false)
		w.Write(Stdout, stream[from+2:], false)
		var got string
		for _, e := range entries(t, c.Path) {
			got += strings.TrimSpace(e.Log)
		}
		if got != "abEcde" {
			t.Errorf("torn %q: %s", torn, got)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	d := b.TempDir()
	w, err := Open(Config{Path: filepath.Join(d, "log"), Journal: filepath.Join(d, "journal"), MaxSize: 100 << 20, MaxFiles: 2})
	if err != nil {
		b.Fatal(err)
	}
	chunk := bytes.Repeat([]byte("2026-08-01T12:00:00Z INFO request served path=/index.html status=200 took=1.2ms\n"), 800)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		w.Write(Stdout, chunk, false)
	}
}

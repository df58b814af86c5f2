package jsonlog

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// FuzzResume takes up a log that a dead writer, or anybody else, left. What is
// written from then on must be readable.
func FuzzResume(f *testing.F) {
	line := `{"log":"one\n","stream":"stdout","time":"2026-08-01T12:00:00.5Z"}` + "\n"
	for _, s := range []string{"", line, line + line[:20], line + "no json\n" + line, "\x00\x00\n", `{"stream":7}` + "\n", "[]\n"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, left []byte, again bool) {
		c := Config{Path: dir + "/log", Journal: dir + "/journal"}
		for name, b := range map[string][]byte{c.Path: left, c.Journal: nil} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w, err := Resume(c, again)
		if err != nil {
			t.Fatal(err)
		}
		line := []byte("new\n")
		for range bytes.Count(left, []byte("\n")) + 1 { // those that are counted as there already are left out
			w.Write(Stdout, line, false)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(c.Path)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(got, []byte("\n"))
		var e struct{ Log, Stream string }
		if err := json.Unmarshal(lines[len(lines)-2], &e); err != nil || e.Log != "new\n" {
			t.Errorf("the last line is %q: %v", lines[len(lines)-2], err)
		}
	})
}

func TestALineOfSomebodyElseInTheLogDoesNotKeepAShimFromAdopting(t *testing.T) {
	c := config(t)
	if err := os.WriteFile(c.Path, []byte("no json\n[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Resume(c, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

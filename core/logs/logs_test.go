package logs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/core/logs"
)

// epoch is when the first line of a test's log was written; each is a second
// later than the one before.
func epoch() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

type shim struct {
	t    *testing.T
	path string
	n    int
}

func (s *shim) write(text string) {
	s.t.Helper()
	f, err := os.OpenFile(s.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	stream := "stdout"
	if s.n%2 == 1 {
		stream = "stderr"
	}
	line, err := json.Marshal(map[string]any{"log": text, "stream": stream, "time": epoch().Add(time.Duration(s.n) * time.Second)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.n++
	if _, err := f.Write(append(line, '\n')); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shim) rotate() {
	s.t.Helper()
	for i := 3; i >= 1; i-- {
		if err := os.Rename(fmt.Sprintf("%s.%d", s.path, i), fmt.Sprintf("%s.%d", s.path, i+1)); err != nil && !os.IsNotExist(err) {
			s.t.Fatal(err)
		}
	}
	if err := os.Rename(s.path, s.path+".1"); err != nil {
		s.t.Fatal(err)
	}
}

func newShim(t *testing.T, lines ...string) *shim {
	s := &shim{t: t, path: filepath.Join(t.TempDir(), "x-json.log")}
	for _, l := range lines {
		s.write(l)
	}
	return s
}

func all() logs.Options { return logs.Options{Stdout: true, Stderr: true, Tail: -1} }

func read(t *testing.T, path string, o logs.Options) (out []string) {
	t.Helper()
	for e, err := range logs.Read(t.Context(), path, o, nil) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(e.Line))
	}
	return out
}

func TestSelections(t *testing.T) {
	s := newShim(t, "0\n", "1\n", "2\n")
	s.rotate()
	s.write("3\n")
	s.rotate()
	s.write("4\n")
	s.write("5\n")
	at := func(sec int) time.Time { return epoch().Add(time.Duration(sec) * time.Second) }
	for _, c := range []struct {
		name string
		edit func(*logs.Options)
		want string
	}{
		{"all, over rotated files", func(*logs.Options) {}, "012345"},
		{"stdout", func(o *logs.Options) { o.Stderr = false }, "024"},
		{"stderr", func(o *logs.Options) { o.Stdout = false }, "135"},
		{"none", func(o *logs.Options) { o.Tail = 0 }, ""},
		{"tail within a file", func(o *logs.Options) { o.Tail = 1 }, "5"},
		{"tail of exactly a file", func(o *logs.Options) { o.Tail = 2 }, "45"},
		{"tail over files", func(o *logs.Options) { o.Tail = 4 }, "2345"},
		{"tail beyond the beginning", func(o *logs.Options) { o.Tail = 40 }, "012345"},
		{"since", func(o *logs.Options) { o.Since = at(4) }, "45"},
		{"until", func(o *logs.Options) { o.Until = at(1) }, "01"},
		{"tail and stream", func(o *logs.Options) { o.Tail, o.Stderr = 3, false }, "4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := all()
			c.edit(&o)
			if got := strings.ReplaceAll(strings.Join(read(t, s.path, o), ""), "\n", ""); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestALogThatIsNotThereIsEmpty(t *testing.T) {
	if got := read(t, filepath.Join(t.TempDir(), "none"), all()); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestTornLinesAreLeftOut(t *testing.T) {
	s := newShim(t, "whole\n")
	f, err := os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("{\"log\":\"to\n\x00\x00\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.write("again\n")
	if got := read(t, s.path, all()); !slices.Equal(got, []string{"whole\n", "again\n"}) {
		t.Errorf("got %q", got)
	}
}

func TestLongTailsAreFoundBackwards(t *testing.T) {
	s := newShim(t)
	var b strings.Builder
	for i := range 5000 { // several blocks
		fmt.Fprintf(&b, "{\"log\":\"%d\\n\",\"stream\":\"stdout\",\"time\":\"2030-01-02T03:04:05Z\"}\n", i)
	}
	if err := os.WriteFile(s.path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	o := all()
	o.Tail = 3000
	got := read(t, s.path, o)
	if len(got) != 3000 || got[0] != "2000\n" || got[2999] != "4999\n" {
		t.Errorf("%d lines from %q", len(got), got[0])
	}
}

// follow reads in the background.
func follow(t *testing.T, path string, o logs.Options, done <-chan struct{}) <-chan string {
	t.Helper()
	o.Follow = true
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	out := make(chan string)
	go func() {
		defer close(out)
		for e, err := range logs.Read(ctx, path, o, done) {
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case out <- string(e.Line):
			case <-ctx.Done():
			}
		}
	}()
	return out
}

func TestFollowingGoesOverRotationsAndEndsWhenDrained(t *testing.T) {
	s := newShim(t, "old\n")
	done := make(chan struct{})
	lines := follow(t, s.path, all(), done)
	want := []string{"old\n"}
	if got := <-lines; got != want[0] {
		t.Fatalf("got %q", got)
	}
	for i := range 12 {
		text := fmt.Sprintf("%d\n", i)
		s.write(text)
		want = append(want, text)
		if i%3 == 2 {
			s.rotate()
		}
	}
	close(done)
	got := []string{"old\n"}
	for l := range lines {
		got = append(got, l)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFollowingALogThatDoesNotExistYet(t *testing.T) {
	s := newShim(t)
	lines := follow(t, s.path, all(), nil)
	s.write("first\n")
	if got := <-lines; got != "first\n" {
		t.Errorf("got %q", got)
	}
}

func TestFollowingATruncatedLogBeginsAnew(t *testing.T) {
	s := newShim(t, "a long first line\n", "and a second\n")
	lines := follow(t, s.path, all(), nil)
	<-lines
	<-lines
	if err := os.Truncate(s.path, 0); err != nil {
		t.Fatal(err)
	}
	// The shorter file may be seen before or after the write; both are longer
	// than nothing and shorter than before.
	s.write("new\n")
	if got := <-lines; got != "new\n" {
		t.Errorf("got %q", got)
	}
}

func TestFollowingEndsAtUntil(t *testing.T) {
	s := newShim(t)
	o := all()
	o.Until = time.Now().Add(20 * time.Millisecond)
	for l := range follow(t, s.path, o, nil) {
		t.Errorf("got %q", l)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"log":"a\n","stream":"stdout","time":"2030-01-02T03:04:05Z"}`+"\n"), 1)
	f.Add([]byte("{}\n\n{"), -1)
	f.Fuzz(func(t *testing.T, file []byte, tail int) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		o := all()
		o.Tail = tail
		for e, err := range logs.Read(t.Context(), path, o, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Stream == "" || e.Time.IsZero() {
				t.Errorf("an entry without stream or time: %+v", e)
			}
		}
	})
}

// Lines from before a clock was set back bear later times than now. The bound used
// to be a time, and such a log had no line.
func TestASnapshotEndsWhereTheLogDidWhateverTheTimes(t *testing.T) {
	s := &shim{t: t, path: filepath.Join(t.TempDir(), "c-json.log")}
	s.write("rotated\n")
	s.rotate()
	s.write("before\n")
	s.n = -1000000 // the clock is set back
	s.write("after\n")
	entries, err := logs.Snapshot(t.Context(), s.path, logs.Options{Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	s.write("later\n")
	s.rotate()
	s.write("much later\n")
	var got []string
	for e, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(e.Line))
	}
	if want := []string{"rotated\n", "before\n", "after\n"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

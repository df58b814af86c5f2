package arch

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range inTree(t) {
		if len(p.GoFiles) == 0 || below(p.path(), "sdk/internal/pb") {
			continue // tests alone; generated: documented by the protos
		}
		if strings.TrimSpace(p.Doc) == "" {
			t.Errorf("%s has no package comment", p.path())
		}
	}
}

// A file that long is hard to read; those that had to be are to be split.
const maxLines = 600

func TestNoFileIsTooLong(t *testing.T) {
	for _, p := range inTree(t) {
		if below(p.path(), "sdk/internal/pb") {
			continue
		}
		for _, f := range p.GoFiles {
			if n := lines(t, filepath.Join(p.Dir, f)); n > maxLines {
				t.Errorf("%s/%s has %d lines, more than %d: split it by concern", p.path(), f, n, maxLines)
			}
		}
	}
}

func lines(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		n++
	}
	return n
}

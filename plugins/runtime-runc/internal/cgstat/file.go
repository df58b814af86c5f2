package cgstat

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Counters that the kernel does not have are zero: which there are depends on
// its version and configuration.

func number(dir, file string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	return parse(strings.TrimSpace(string(b)))
}

// parse reads a number; "max" is the largest.
func parse(s string) uint64 {
	if s == "max" {
		return ^uint64(0)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// table reads lines of a name and a number.
func table(dir, file string) map[string]uint64 {
	t := map[string]uint64{}
	for _, f := range rows(filepath.Join(dir, file)) {
		if len(f) == 2 {
			t[f[0]] = parse(f[1])
		}
	}
	return t
}

// rows reads lines of fields.
func rows(path string) (all [][]string) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		all = append(all, strings.Fields(line))
	}
	return all
}

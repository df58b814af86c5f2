package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// goRace is GORACE with a place for what the race detector reports in any
// program that is started on this host's behalf: a driver's log is emptied when
// it has grown and removed by a teardown.
func (h *Host) goRace() string {
	return "GORACE=" + strings.TrimSpace(os.Getenv("GORACE")+" log_path="+filepath.Join(h.Dir, "race"))
}

// races are the data races that programs of this host have reported, to a file
// of their own or, where GORACE did not come to them, into their logs.
func (h *Host) races() (found []string, err error) {
	for _, pattern := range []string{h.Dir + "/race.*", h.LogPath(), h.RunDir + "/drivers/*.log"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return found, err
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				return found, err
			}
			if _, report, ok := strings.Cut(string(text), "WARNING: DATA RACE"); ok {
				found = append(found, fmt.Sprintf("%s: data race: %s", filepath.Base(f), report[:min(len(report), 8<<10)]))
			}
		}
	}
	return found, nil
}

// checkRaces fails the test if there were any.
func (h *Host) checkRaces() {
	h.tb.Helper()
	found, err := h.races()
	if err != nil {
		h.tb.Errorf("look for data races: %v", err)
	}
	for _, r := range found {
		h.tb.Error(r)
	}
}

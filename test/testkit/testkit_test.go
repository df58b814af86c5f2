package testkit

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

func TestARegistryWithTheTestImagesAnswersInsideTheNamespaceOnly(t *testing.T) {
	h := New(t)
	resp, err := h.HTTP().Get("http://" + h.Registry + "/v2/library/nginx/tags/list")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("tags of library/nginx: %s", resp.Status)
	}
	if leaks := h.Leaks(); len(leaks) != 0 {
		t.Errorf("a fresh host shows leaks: %q", leaks)
	}
}

func TestADataRaceIsSeenWhereverItIsReported(t *testing.T) {
	dir := t.TempDir()
	h := &Host{tb: t, Dir: dir, RunDir: filepath.Join(dir, "run")}
	if err := os.MkdirAll(h.RunDir+"/drivers", 0o700); err != nil {
		t.Fatal(err)
	}
	for n, path := range []string{dir + "/race.17", h.LogPath(), h.RunDir + "/drivers/net-bridge.log"} {
		for _, step := range []struct {
			text string
			want int
		}{{"a line\n", n}, {"====\nWARNING: DATA RACE\nWrite at 0x0\n", n + 1}} {
			if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if found, err := h.races(); err != nil || len(found) != step.want {
				t.Errorf("%q in %s: %q, %v", step.text, path, found, err)
			}
		}
	}
}

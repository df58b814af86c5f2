package main

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// A daemon that knows two containers is enough to see names offered.
func TestCompletionOffersNamesThatTheDaemonKnows(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.50")
		if strings.HasSuffix(r.URL.Path, "/containers/json") {
			w.Header().Set("Content-Type", "application/json")
			if _, err := w.Write([]byte(`[{"Id":"1","Names":["/web"]},{"Id":"2","Names":["/worker"]},{"Id":"3","Names":["/db"]}]`)); err != nil {
				t.Error(err)
			}
		}
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	t.Setenv("STRAKE_HOST", "unix://"+socket)
	_, out, _ := run(t, "__complete", "stop", "w")
	if !strings.Contains(out, "web\nworker\n") || strings.Contains(out, "db") {
		t.Errorf("offered %q", out)
	}
}

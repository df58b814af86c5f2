package profile_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/api"
	"github.com/strakehq/strake/core/api/profile"
)

func TestProfilesAreWhereDockersAre(t *testing.T) {
	s := httptest.NewServer(api.New(api.Config{Routes: profile.Routes(), Logger: hclog.NewNullLogger()}))
	defer s.Close()
	for path, want := range map[string]string{
		"/debug/pprof":                    "goroutine?debug=1",
		"/v1.41/debug/pprof/heap?debug=1": "# HeapAlloc = ",
		"/debug/pprof/goroutine?debug=2":  "TestProfilesAreWhereDockersAre",
		"/debug/pprof/cmdline":            "profile.test",
		"/debug/pprof/no-such?debug=1":    "no such profile: no-such",
		"/debug/pprof/trace?seconds=0.01": "go 1.",
	} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := resp.Write(&b); err != nil {
			t.Error(err)
		}
		resp.Body.Close()
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: got\n%.300s\nwant %q", path, b.String(), want)
		}
	}
}

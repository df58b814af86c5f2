package client

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestChallenges(t *testing.T) {
	for header, want := range map[string]challenge{
		`Basic realm="x"`: {"basic", map[string]string{"realm": "x"}},
		`bearer realm="https://a/b",service="c d",scope="repository:x/y:pull,push"`: {"bearer", map[string]string{"realm": "https://a/b", "service": "c d", "scope": "repository:x/y:pull,push"}},
		`Negotiate, Basic realm="x"`:                        {"basic", map[string]string{"realm": "x"}},
		`Basic realm="x", Bearer realm="https://a"`:         {"bearer", map[string]string{"realm": "https://a"}},
		`Bearer realm=https://plain,Service = "with \"q\""`: {"bearer", map[string]string{"realm": "https://plain", "service": `with "q"`}},
	} {
		got, ok := pickChallenge(http.Header{"Www-Authenticate": {header}})
		if !ok || got.scheme != want.scheme || !maps.Equal(got.params, want.params) {
			t.Errorf("%s: got %+v, want %+v", header, got, want)
		}
	}
	for _, header := range []string{"", "Negotiate", "Bearer", `Bearer service="x"`, `="x"`, `"`} {
		if got, ok := pickChallenge(http.Header{"Www-Authenticate": {header}}); ok {
			t.Errorf("%q: got %+v", header, got)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Basic realm="x"`)
	f.Add(`Bearer realm="https://a/b",service="c",scope="d"`)
	f.Add(`Negotiate abc==, Basic realm="\"`)
	f.Add(`a=b, =, ,,"`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range parseChallenges(s) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
		}
	})
}

func TestRealms(t *testing.T) {
	for _, c := range []struct {
		registry, realm string
		ok              bool
	}{
		{"https://registry-1.docker.io", "https://auth.docker.io/token", true},
		{"https://r.example", "http://auth.example/token", false},
		{"http://r.example", "http://auth.example/token", true},
		{"https://r.example", "https://169.254.169.254/latest", false},
		{"https://r.example", "https://localhost/token", false},
		{"https://r.example", "https://10.0.0.1/token", false},
		{"https://10.0.0.2:5000", "https://10.0.0.1/token", true},
		{"http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true},
		{"https://r.example", "file:///etc/passwd", false},
		{"https://r.example", "https://user:pass@auth.example", false},
		{"https://r.example", "//auth.example", false},
		{"https://r.example", "", false},
	} {
		base, err := url.Parse(c.registry)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := checkRealm(c.realm, base); (err == nil) != c.ok {
			t.Errorf("registry %s, realm %s: error is %v", c.registry, c.realm, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for v, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "999999": time.Hour} {
		if got := retryAfter(http.Header{"Retry-After": {v}}); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
	for _, at := range []string{"Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		if got := retryAfter(http.Header{"Retry-After": {at}}); got < 0 || got > time.Hour {
			t.Errorf("%s: %s", at, got)
		}
	}
	at := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if got := retryAfter(http.Header{"Retry-After": {at}}); got < 50*time.Second || got > time.Minute {
		t.Errorf("%q: %s", at, got)
	}
}

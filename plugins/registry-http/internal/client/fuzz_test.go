package client

import (
	"net/http"
	"net/url"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
)

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"7", "-1", "999999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := retryAfter(http.Header{"Retry-After": {s}}); got < 0 || got > time.Hour {
			t.Errorf("%q gives %s", s, got)
		}
	})
}

// FuzzErrorBody wants errors that a terminal can show, whatever a registry
// says.
func FuzzErrorBody(f *testing.F) {
	f.Add(404, []byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"1"}}]}`))
	f.Add(500, []byte(`<html>oops</html>`))
	f.Add(429, []byte("{\"errors\":[{\"code\":\"\\u001b[31m\",\"message\":\"\\u0000\\n\xff\"}]}"))
	f.Add(-7, []byte(`{"errors":[{}]}`))
	c := &Client{ep: hosts.Endpoint{Host: "r.example"}}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := c.statusError(status, http.Header{}, body)
		text := e.Error()
		if !utf8.ValidString(text) || len(text) > 4*maxErrorText {
			t.Errorf("%d bytes, %q", len(text), text)
		}
		for _, r := range text {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is for no terminal", text)
			}
		}
	})
}

// FuzzRealm wants no realm through that is less safe than its registry.
func FuzzRealm(f *testing.F) {
	f.Add("https://registry-1.docker.io", "https://auth.docker.io/token")
	f.Add("https://r.example", "http://auth.example/token")
	f.Add("https://r.example", "https://[::ffff:169.254.169.254]/")
	f.Add("https://r.example", "https://127.1/")
	f.Add("https://r.example", "https://user@localhost.")
	f.Fuzz(func(t *testing.T, base, realm string) {
		b, err := url.Parse(base)
		if err != nil || b.Host == "" {
			return
		}
		u, err := checkRealm(realm, b)
		if err != nil {
			return
		}
		if u.Host == "" || u.User != nil || u.Scheme != "https" && b.Scheme != "http" {
			t.Errorf("%q of %q let through as %q", realm, base, u)
		}
	})
}

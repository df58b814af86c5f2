package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/registry"
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

// answers is a token service that always says the same.
type answers struct {
	status int
	body   []byte
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r,
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)),
	}, nil
}

// FuzzTokenAnswer has a token service answer. What is made of it is a header that
// can be sent, for a bounded time, or an error that shows nothing of the answer
// but the message meant for people, and has a class.
func FuzzTokenAnswer(f *testing.F) {
	for _, s := range []string{
		`{"token":"abc","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}`, `{"access_token":"abc","refresh_token":"def"}`,
		`{"token":"abc","expires_in":-1}`, `{"token":"abc","expires_in":9223372036854775807}`, `{"token":"abc","expires_in":"soon"}`,
		`{"token":"a\r\nX-Evil: 1"}`, `{"token":""}`, `{}`, `[]`, `null`, `{"token":`, "\xff\xfe", `{"errors":[{"code":"DENIED","message":"\u001b[31mno"}]}`,
		`{"errors":[]}`, `{"errors":[{"detail":{"a":[[[]]]}}]}`,
	} {
		f.Add(200, []byte(s), false)
		f.Add(401, []byte(s), true)
	}
	f.Add(503, []byte("busy"), true)
	f.Add(404, []byte("what?"), true)
	f.Add(302, []byte(""), false)
	c := newClient(&Pool{}, hosts.Endpoint{Host: "r.example", Base: url.URL{Scheme: "http", Host: "r.example"}})
	f.Fuzz(func(t *testing.T, code int, answer []byte, identity bool) {
		if code < 200 || code > 599 {
			return
		}
		c.own = &http.Transport{}
		c.own.RegisterProtocol("http", answers{code, answer})
		creds := registry.Credentials{Username: "me", Password: "hunter2"}
		if identity {
			creds = registry.Credentials{IdentityToken: "id"}
		}
		began := time.Now()
		g, _, err := c.grant(t.Context(), challenge{"bearer", map[string]string{"realm": "http://r.example/token", "service": "r"}}, creds, nil, errors.New("refused"))
		if err != nil {
			text := err.Error()
			if len(text) > 4*maxErrorText || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(text, "hunter2") || code >= 400 && errors.Is(err, errdefs.ErrUnknown) {
				t.Errorf("%d %q: %q", code, answer, text)
			}
			return
		}
		if life := g.until.Sub(began); code != http.StatusOK || life <= 0 || life > 24*time.Hour {
			t.Errorf("%d %q: lives for %s", code, answer, life)
		}
		if strings.ContainsFunc(strings.TrimPrefix(g.header, "Bearer "), func(r rune) bool { return r <= ' ' || r > '~' }) || g.header == "Bearer " {
			t.Errorf("%d %q: the header is %q", code, answer, g.header)
		}
	})
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/registry"
)

// dribble sends bytes so slowly that each of them comes in time.
func dribble(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		w.(http.Flusher).Flush()
	}
}

// pour sends bytes as long as somebody takes them, and says how many.
func pour(w io.Writer) (n int64) {
	chunk := []byte(strings.Repeat(" ", 64<<10))
	for {
		m, err := w.Write(chunk)
		if n += int64(m); err != nil {
			return n
		}
	}
}

// Each kind of hostile answer ends with an error of its class, that names the
// host, after a bounded time and number of requests.
func TestHostileAnswersEndInAnError(t *testing.T) {
	dg := digest.FromString("blob")
	blob := func(d *Driver, r registry.Repository) error {
		rc, err := d.FetchBlob(t.Context(), r, ocispec.Descriptor{Digest: dg, Size: 1 << 30}, 0)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, rc)
		return closing(rc, err)
	}
	manifest := func(d *Driver, r registry.Repository) error {
		_, err := d.GetManifest(t.Context(), r, "latest")
		return err
	}
	resolve := func(d *Driver, r registry.Repository) error {
		_, err := d.Resolve(t.Context(), r, "latest")
		return err
	}
	tags := func(d *Driver, r registry.Repository) error {
		_, err := d.ListTags(t.Context(), r)
		return err
	}
	for name, c := range map[string]struct {
		ask    func(*Driver, registry.Repository) error
		class  error
		answer func(w http.ResponseWriter, r *http.Request)
	}{
		"a blob byte by byte":     {blob, errdefs.ErrUnavailable, dribble},
		"a manifest byte by byte": {manifest, errdefs.ErrUnavailable, dribble},
		"a list byte by byte":     {tags, errdefs.ErrUnavailable, dribble},
		"a manifest without end": {manifest, errdefs.ErrOutOfRange, func(w http.ResponseWriter, _ *http.Request) {
			if n := pour(w); n > 64<<20 {
				t.Errorf("%d bytes of a manifest were taken", n)
			}
		}},
		"an error without end": {manifest, errdefs.ErrPermissionDenied, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			if n := pour(w); n > 64<<20 {
				t.Errorf("%d bytes of an error were taken", n)
			}
		}},
		"headers without end": {resolve, errdefs.ErrUnavailable, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 300 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 8<<10))
			}
		}},
		"a list that leads to itself": {tags, errdefs.ErrOutOfRange, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<`+r.URL.Path+`?last=x>; rel="next"`)
			_, _ = w.Write([]byte(`{"tags":["x"]}`))
		}},
		"a list of large pages without end": {tags, errdefs.ErrOutOfRange, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<`+r.URL.Path+`?last=x>; rel="next"`)
			_, _ = w.Write([]byte(`{"tags":["` + strings.Repeat("x", 3<<20) + `"]}`))
		}},
		"a redirect to itself": {blob, errdefs.ErrUnavailable, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }},
		"a redirect to a file": {blob, errdefs.ErrUnavailable, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/shadow", http.StatusFound)
		}},
		"a challenge without end": {manifest, errdefs.ErrUnauthenticated, challengeWith(`Basic realm="x"`)},
		"a challenge in pieces":   {manifest, errdefs.ErrInvalidArgument, challengeWith(strings.Repeat(`Bearer realm="`, 1000))},
		"a realm that is a file":  {manifest, errdefs.ErrPermissionDenied, challengeWith(`Bearer realm="file://x/etc/shadow"`)},
		"a realm with a user":     {manifest, errdefs.ErrInvalidArgument, challengeWith(`Bearer realm="http://u:p@127.0.0.1/"`)},
		"another range than asked for": {blob, errdefs.ErrDataLoss, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 7-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v2/" {
					c.answer(w, r)
				}
				return r.URL.Path != "/v2/"
			}
			stall := "60s"
			if strings.HasSuffix(name, "byte by byte") {
				stall = "200ms" // the others must not depend on how fast this machine is
			}
			d := configure(t, `"stall_timeout": "`+stall+`", "retries": 1`)
			err := c.ask(d, registry.Repository{Host: s.host, Name: "app", Credentials: registry.Credentials{Username: "u", Password: "p4ss"}})
			if err == nil || !is(err, c.class) || !strings.Contains(err.Error(), s.host) || strings.Contains(err.Error(), "p4ss") || len(err.Error()) > 2000 {
				t.Errorf("error is %.2000v", err)
			}
			if n := s.count.Load(); n > maxPages+10 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func closing(c io.Closer, err error) error {
	if cerr := c.Close(); err == nil {
		return cerr
	}
	return err
}

func is(err, class error) bool { return errors.Is(errdefs.Resolve(err), class) }

func challengeWith(h string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", h)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// A blob store that a registry redirects to asks for credentials by a challenge
// of its own, which names a token service of its own: neither gets anything.
func TestAHostRedirectedToCannotAskForTheRegistrysCredentials(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if a := r.Header.Get("Authorization"); a != "" {
			seen = append(seen, r.Host+r.URL.Path+" "+a)
		}
	}
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		_, _ = io.WriteString(w, `{"token":"t"}`)
	}))
	t.Cleanup(thief.Close)
	for _, scheme := range []string{"Bearer", "Basic"} {
		store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			note(r)
			w.Header().Set("WWW-Authenticate", scheme+` realm="`+thief.URL+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		t.Cleanup(store.Close)
		s := newServer(t)
		s.fault = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, store.URL+"/blob", http.StatusTemporaryRedirect)
			return true
		}
		d := configure(t, "")
		creds := registry.Credentials{Username: "u", Password: "p"}
		r := registry.Repository{Host: s.host, Name: "app", Credentials: creds}
		if rc, err := d.FetchBlob(t.Context(), r, ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1}, 0); !errdefs.IsUnauthorized(err) {
			t.Errorf("%s: fetched %v, error %v", scheme, rc, err)
		}
		if _, err := d.Login(t.Context(), s.host, creds); err == nil {
			t.Errorf("%s: logged in", scheme)
		}
	}
	if len(seen) > 0 {
		t.Errorf("credentials went to %q", seen)
	}
}

func TestATokenServiceThatMisbehavesEndsInAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"endless":  func(w http.ResponseWriter, _ *http.Request) { pour(w) },
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"no token": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"a split token": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"a\r\nX-Evil: b"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			service := httptest.NewServer(answer)
			t.Cleanup(service.Close)
			s := newServer(t)
			s.fault = func(w http.ResponseWriter, r *http.Request) bool {
				challengeWith(`Bearer realm="`+service.URL+`/token"`)(w, r)
				return true
			}
			d := configure(t, `"retries": 0`)
			_, err := d.GetManifest(t.Context(), registry.Repository{Host: s.host, Name: "app", Credentials: registry.Credentials{Username: "u", Password: "p4ss"}}, "1")
			if err == nil || strings.Contains(err.Error(), "p4ss") || len(err.Error()) > 2000 {
				t.Errorf("error is %.2000v", err)
			}
			t.Log(err)
		})
	}
}

// A token that is good for longer than a number can say is used, not taken for
// one that has run out.
func TestATokenForAllTimesIsUsed(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"token":"good","expires_in":9223372036854775807}`)
	}))
	t.Cleanup(service.Close)
	s := newServer(t)
	want, _ := s.holds(t, "app")
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer good" {
			return false
		}
		challengeWith(`Bearer realm="`+service.URL+`/token"`)(w, r)
		return true
	}
	got, err := configure(t, "").GetManifest(t.Context(), registry.Repository{Host: s.host, Name: "app"}, "1")
	if err != nil || got.Descriptor.Digest != want.Descriptor.Digest {
		t.Errorf("got %s, error %v", got.Descriptor.Digest, err)
	}
}

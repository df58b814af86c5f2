package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/registry"
)

const (
	kitUser     = "kit"
	kitPassword = "correct-horse"
	kitIdentity = "identity-of-kit"
	kitGrant    = "granted-token"
)

func kitCredentials() registry.Credentials {
	return registry.Credentials{Username: kitUser, Password: kitPassword}
}

// private is a registry that wants credentials: the environment's or one with
// basic authentication in this process.
func (l *registryLab) private() (registry.Repository, registry.Credentials) {
	if l.env.Private != "" {
		return l.at(l.env.Private), l.env.Credentials
	}
	s := newRegistryServer(l.T)
	s.setFault(basicAuth)
	return l.at(s.host), kitCredentials()
}

func basicAuth(w http.ResponseWriter, r *http.Request) bool {
	u, p, _ := r.BasicAuth()
	if u == kitUser && p == kitPassword {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="kit"`)
	deny(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return true
}

// tokens is a token service and the registry that trusts it.
type tokens struct {
	*registryServer
	service *httptest.Server

	mu     sync.Mutex
	valid  string   // guarded by mu; the token that is good now
	serial int      // guarded by mu
	asked  []string // guarded by mu; scopes and grant types
}

func newTokens(t *T) *tokens {
	s := &tokens{registryServer: newRegistryServer(t)}
	s.service = httptest.NewServer(http.HandlerFunc(s.grant))
	t.Cleanup(s.service.Close)
	s.setFault(s.check)
	return s
}

func (s *tokens) check(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	good := s.valid != "" && r.Header.Get("Authorization") == "Bearer "+s.valid
	s.mu.Unlock()
	if good {
		return false
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="kit,with comma",scope="ignored"`, s.service.URL))
	deny(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return true
}

func (s *tokens) grant(w http.ResponseWriter, r *http.Request) {
	u, p, basic := r.BasicAuth()
	ok := basic && u == kitUser && p == kitPassword
	if r.Method == http.MethodPost {
		ok = r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == kitIdentity
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.FormValue("service")+" "+strings.Join(r.Form["scope"], " "))
	if !ok {
		deny(w, http.StatusUnauthorized, "UNAUTHORIZED", "bad credentials")
		return
	}
	s.serial++
	s.valid = fmt.Sprintf("%s-%d", kitGrant, s.serial)
	answer := map[string]any{"token": s.valid, "expires_in": 300}
	if r.FormValue("offline_token") == "true" {
		answer["refresh_token"] = kitIdentity
	}
	_ = json.NewEncoder(w).Encode(answer) // the client's affair
}

// expire makes the present token bad.
func (s *tokens) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid = "expired"
}

// noSecrets checks a message.
func (l *registryLab) noSecrets(err error) {
	for _, s := range []string{kitPassword, kitIdentity, kitGrant, l.env.Credentials.Password.Reveal()} {
		if s != "" && strings.Contains(err.Error(), s) {
			l.Errorf("the error holds a secret: %w", err)
		}
	}
}

func authCases() []registryCase {
	return []registryCase{
		{"credentials given with a call are used, right ones only", func(l *registryLab) {
			r, good := l.private()
			r.Credentials = good
			m := l.pushImage(r, "v1")
			l.crash()
			got, err := l.d.Resolve(l.ctx, r, "v1")
			l.NoError(err, "resolve")
			l.NoError(sameDescriptor(got, m.Descriptor), "resolve")
			for what, c := range map[string]registry.Credentials{
				"none": {}, "wrong": {Username: good.Username, Password: "not-it"},
			} {
				r.Credentials = c
				_, err := l.d.Resolve(l.ctx, r, "v1")
				l.ErrorIs(err, errdefs.ErrUnauthenticated, "resolve with "+what+" credentials")
				l.names(err, r.Host)
				l.noSecrets(err)
			}
		}},
		{"login tells right credentials from wrong ones", func(l *registryLab) {
			r, good := l.private()
			_, err := l.d.Login(l.ctx, r.Host, good)
			l.NoError(err, "login")
			_, err = l.d.Login(l.ctx, r.Host, registry.Credentials{Username: good.Username, Password: "not-it"})
			l.ErrorIs(err, errdefs.ErrUnauthenticated, "login with a wrong password")
			l.names(err, r.Host)
			l.noSecrets(err)
			_, err = l.d.Login(l.ctx, l.repo.Host, good)
			l.NoError(err, "login where nobody asks")
		}},
		{"a token service is asked with the credentials, once for many requests", func(l *registryLab) {
			s := newTokens(l.T)
			r := l.at(s.host)
			r.Credentials = kitCredentials()
			l.pushImage(r, "v1")
			s.mu.Lock()
			if n := len(s.asked); n == 0 || n > 2 || !strings.HasPrefix(s.asked[0], "kit,with comma repository:"+r.Name+":pull") {
				l.Errorf("the token service was asked %q", s.asked)
			}
			s.mu.Unlock()
			for _, h := range s.seen() {
				if strings.HasPrefix(h.Get("Authorization"), "Basic ") {
					l.Errorf("the password went to the registry itself")
				}
			}
		}},
		{"a token that has run out is renewed", func(l *registryLab) {
			s := newTokens(l.T)
			r := l.at(s.host)
			r.Credentials = kitCredentials()
			l.pushImage(r, "v1")
			for range Repeats {
				s.expire()
				_, err := l.d.GetManifest(l.ctx, r, "v1")
				l.NoError(err, "get manifest with an old token")
			}
		}},
		{"an identity token comes from login and stands for the password", func(l *registryLab) {
			s := newTokens(l.T)
			res, err := l.d.Login(l.ctx, s.host, kitCredentials())
			l.NoError(err, "login")
			if res.IdentityToken.Reveal() != kitIdentity {
				l.Fatalf("no identity token, or another")
			}
			r := l.at(s.host)
			r.Credentials = registry.Credentials{IdentityToken: res.IdentityToken}
			l.pushImage(r, "v1")
			r.Credentials.IdentityToken = "not-it"
			_, err = l.d.Resolve(l.ctx, r, "v1")
			l.ErrorIs(err, errdefs.ErrUnauthenticated, "resolve with a wrong identity token")
			l.noSecrets(err)
		}},
		{"a registry token is sent as it is", func(l *registryLab) {
			s := newTokens(l.T)
			s.mu.Lock()
			s.valid = "ready-made"
			s.mu.Unlock()
			r := l.at(s.host)
			r.Credentials = registry.Credentials{RegistryToken: "ready-made"}
			l.pushImage(r, "v1")
		}},
		{"credentials stay with their host when a blob is elsewhere", func(l *registryLab) {
			s := newTokens(l.T)
			store := newRegistryServer(l.T)
			r := l.at(s.host)
			r.Credentials = kitCredentials()
			b := randomBytes(10_000)
			l.pushBlob(r, b)
			store.setFault(func(w http.ResponseWriter, q *http.Request) bool {
				s.serve(w, q)
				return true
			})
			s.setFault(func(w http.ResponseWriter, q *http.Request) bool {
				if s.check(w, q) {
					return true
				}
				if isBlobGet(q) {
					http.Redirect(w, q, store.URL+q.URL.Path+"?signature=secret", http.StatusTemporaryRedirect)
				}
				return isBlobGet(q)
			})
			l.wantBytes(r, b, 0, "fetch")
			for _, h := range store.seen() {
				if h.Get("Authorization") != "" {
					l.Errorf("the other host got credentials")
				}
			}
		}},
		{"a user without the right is told so", func(l *registryLab) {
			s := newRegistryServer(l.T)
			s.setFault(func(w http.ResponseWriter, _ *http.Request) bool {
				deny(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
				return true
			})
			_, err := l.d.Resolve(l.ctx, l.at(s.host), "v1")
			l.ErrorIs(err, errdefs.ErrPermissionDenied, "resolve")
		}},
	}
}

func refusalCases() []registryCase {
	return []registryCase{
		{"a registry that is not there is unavailable, and the error names it", func(l *registryLab) {
			li, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
			l.NoError(err, "find a free port")
			host := li.Addr().String()
			l.NoError(li.Close(), "free the port")
			_, err = l.d.Resolve(l.ctx, l.at(host), "v1")
			l.ErrorIs(err, errdefs.ErrUnavailable, "resolve")
			l.names(err, host)
		}},
		{"too many requests are told as such", func(l *registryLab) {
			s := newRegistryServer(l.T)
			s.setFault(func(w http.ResponseWriter, _ *http.Request) bool {
				deny(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")
				return true
			})
			_, err := l.d.GetManifest(l.ctx, l.at(s.host), "v1")
			l.ErrorIs(err, errdefs.ErrResourceExhausted, "get manifest")
			l.names(err, s.host)
		}},
		{"redirects without end are given up", func(l *registryLab) {
			s := newRegistryServer(l.T)
			s.setFault(func(w http.ResponseWriter, q *http.Request) bool {
				if strings.Contains(q.URL.Path, "/manifests/") {
					http.Redirect(w, q, q.URL.Path, http.StatusTemporaryRedirect)
				}
				return strings.Contains(q.URL.Path, "/manifests/")
			})
			if _, err := l.d.GetManifest(l.ctx, l.at(s.host), "v1"); err == nil {
				l.Errorf("no error")
			}
			if n := len(s.seen()); n > 100 {
				l.Errorf("%d requests were made", n)
			}
		}},
		{"what a registry says is no danger to a terminal", func(l *registryLab) {
			s := newRegistryServer(l.T)
			s.setFault(func(w http.ResponseWriter, _ *http.Request) bool {
				deny(w, http.StatusForbidden, "DENIED", "\x1b[31mred\x1b[0m\r\n"+strings.Repeat("long ", 10_000))
				return true
			})
			_, err := l.d.Resolve(l.ctx, l.at(s.host), "v1")
			l.ErrorIs(err, errdefs.ErrPermissionDenied, "resolve")
			if strings.ContainsAny(err.Error(), "\x1b\r\n") || len(err.Error()) > 2000 {
				l.Errorf("the error is %d bytes, with control characters: %v", len(err.Error()), strings.ContainsAny(err.Error(), "\x1b\r\n"))
			}
		}},
	}
}

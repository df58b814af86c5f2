package creds

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/registry"
)

// store is a Store with one config.json.
func store(t *testing.T, text string) *Store {
	t.Helper()
	f := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Store{Files: []string{"/nonexistent/config.json", f}, HelperTimeout: 5 * time.Second, HelperLife: time.Minute}
}

// helper puts docker-credential-kit, a shell script, into PATH.
func helper(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-kit"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestConfigJSONIsReadAsDockerDoes(t *testing.T) {
	s := store(t, `{"auths": {
		"https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
		"ghcr.io": {"username": "g", "password": "p"},
		"https://old.example": {"auth": "b2xkOnB3"},
		"token.example": {"identitytoken": "tok", "auth": "PHRva2VuPjo="},
		"127.0.0.1:5000": {"registrytoken": "ready"}}}`)
	for host, want := range map[string]registry.Credentials{
		"docker.io":            {Username: "hub", Password: "secret"},
		"registry-1.docker.io": {Username: "hub", Password: "secret"},
		"ghcr.io":              {Username: "g", Password: "p"},
		"old.example":          {Username: "old", Password: "pw"},
		"token.example":        {IdentityToken: "tok"},
		"127.0.0.1:5000":       {RegistryToken: "ready"},
		"other.example":        {},
	} {
		got, err := s.Lookup(t.Context(), host)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, want %+v, error %v", host, got, want, err)
		}
	}
}

func TestHelpersAreAskedAndTheirAnswersKept(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	helper(t, `read server; echo "$1 $server" >> `+count+`
case "$server" in
  token.example) echo '{"Username":"<token>","Secret":"identity"}';;
  none.example) echo 'credentials not found in native keychain'; exit 1;;
  *) echo "{\"Username\":\"u\",\"Secret\":\"for $server\"}";;
esac`)
	s := store(t, `{"credsStore": "kit"}`)
	for range 3 {
		got, err := s.Lookup(t.Context(), "docker.io")
		if err != nil || got != (registry.Credentials{Username: "u", Password: "for https://index.docker.io/v1/"}) {
			t.Errorf("got %+v, error %v", got, err)
		}
	}
	if b, err := os.ReadFile(count); err != nil || strings.Count(string(b), "get ") != 1 {
		t.Errorf("the helper was run so: %q, error %v", b, err)
	}
	if got, err := s.Lookup(t.Context(), "token.example"); err != nil || got != (registry.Credentials{IdentityToken: "identity"}) {
		t.Errorf("got %+v, error %v", got, err)
	}
	if got, err := s.Lookup(t.Context(), "none.example"); err != nil || got != (registry.Credentials{}) {
		t.Errorf("got %+v, error %v", got, err)
	}
	only := store(t, `{"credHelpers": {"some.example": "kit"}}`)
	if got, err := only.Lookup(t.Context(), "some.example"); err != nil || got.Username != "u" {
		t.Errorf("got %+v, error %v", got, err)
	}
	if got, err := only.Lookup(t.Context(), "other.example"); err != nil || got != (registry.Credentials{}) {
		t.Errorf("got %+v, error %v", got, err)
	}
}

func TestHelpersThatFailAreNamedAndKeepTheirSecrets(t *testing.T) {
	s := store(t, `{"credsStore": "kit"}`)
	helper(t, `echo "the password is hunter2"; echo hunter2 >&2; exit 1`)
	_, err := s.Lookup(t.Context(), "x.example")
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "docker-credential-kit") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
	helper(t, `sleep 60`)
	s.HelperTimeout = 50 * time.Millisecond
	if _, err := s.Lookup(t.Context(), "x.example"); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("error is %v", err)
	}
	s = store(t, `{"credsStore": "not-installed-anywhere"}`)
	if _, err := s.Lookup(t.Context(), "x.example"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "docker-credential-not-installed-anywhere") || !strings.Contains(err.Error(), "install it") {
		t.Errorf("error is %v", err)
	}
	s = store(t, `{"credsStore": "../../tmp/evil"}`)
	if _, err := s.Lookup(t.Context(), "x.example"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("error is %v", err)
	}
}

func TestAMalformedConfigJSONIsNamedButNotQuoted(t *testing.T) {
	s := store(t, `{"auths": {"x": {"auth": "hunter2!"`)
	_, err := s.Lookup(t.Context(), "x")
	if err == nil || !strings.Contains(err.Error(), s.Files[1]) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
}

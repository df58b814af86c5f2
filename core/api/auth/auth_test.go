package auth

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/registry"
)

func TestDecode(t *testing.T) {
	const j = `{"username":"ü?>","password":"p~~","serveraddress":"r.io"}`
	want := registry.AuthConfig{Username: "ü?>", Password: "p~~", ServerAddress: "r.io"}
	for name, header := range map[string]string{
		"url alphabet":      base64.URLEncoding.EncodeToString([]byte(j)),
		"url, no padding":   base64.RawURLEncoding.EncodeToString([]byte(j)),
		"standard alphabet": base64.StdEncoding.EncodeToString([]byte(j)),
	} {
		if got, err := Decode(header); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for _, header := range []string{"", "e30=", base64.URLEncoding.EncodeToString([]byte("null"))} {
		if got, err := Decode(header); err != nil || got != (registry.AuthConfig{}) {
			t.Errorf("%q: got %+v, %v", header, got, err)
		}
	}
	old := base64.URLEncoding.EncodeToString([]byte(`{"auth":"` + base64.StdEncoding.EncodeToString([]byte("u:p:q")) + `"}`))
	if got, err := Decode(old); err != nil || got.Username != "u" || got.Password != "p:q" || got.Auth != "" {
		t.Errorf("old form: got %+v, %v", got, err)
	}
}

func TestErrorsDoNotShowTheCredentials(t *testing.T) {
	for _, header := range []string{"secret!", base64.URLEncoding.EncodeToString([]byte(`{"password":"secret"`)), base64.URLEncoding.EncodeToString([]byte(`{"auth":"secret"}`))} {
		if _, err := Decode(header); !errdefs.IsInvalidArgument(err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", header, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := Decode(s); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Error(err)
		}
	})
}

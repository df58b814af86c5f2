// Package auth reads the registry credentials that come with a request.
package auth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/registry"
)

// Decode reads the X-Registry-Auth header: JSON in base64url. Clients differ
// in alphabet and padding, so all spellings of base64 are taken. An empty
// header, or JSON null, is no credentials. ErrInvalidArgument for what cannot
// be read, and its message has nothing of the header in it.
func Decode(header string) (registry.AuthConfig, error) {
	var a registry.AuthConfig
	plain := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_", "\n", "", "\r", "").Replace(strings.TrimSpace(header)), "=")
	if plain == "" {
		return a, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(plain)
	if err != nil {
		return a, fmt.Errorf("invalid X-Registry-Auth header: must be a valid base64url-encoded string: %w", errdefs.ErrInvalidArgument)
	}
	if json.Unmarshal(b, &a) != nil {
		return registry.AuthConfig{}, fmt.Errorf("invalid X-Registry-Auth header: the decoded text must be a JSON object with username and password, identitytoken or registrytoken: %w", errdefs.ErrInvalidArgument)
	}
	return unpack(a)
}

// unpack fills in user name and password from their old form, "user:password"
// in base64.
func unpack(a registry.AuthConfig) (registry.AuthConfig, error) {
	if a.Auth == "" || a.Username != "" {
		return a, nil
	}
	b, err := base64.StdEncoding.DecodeString(a.Auth)
	user, password, ok := strings.Cut(string(b), ":")
	if err != nil || !ok {
		return registry.AuthConfig{}, fmt.Errorf("invalid X-Registry-Auth header: auth must be user:password in base64: %w", errdefs.ErrInvalidArgument)
	}
	a.Username, a.Password, a.Auth = user, strings.TrimRight(password, "\x00"), ""
	return a, nil
}

package creds

import (
	"strings"
	"testing"
)

// FuzzConfigJSON reads config.json, whose errors must not quote it.
func FuzzConfigJSON(f *testing.F) {
	f.Add(`{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNz"},"r.example":{"identitytoken":"t"}}}`, "r.example")
	f.Add(`{"credsStore":"pass","credHelpers":{"r.example":"x"}}`, "docker.io")
	f.Add(`{"auths":{"r.example":{"auth":"!!"}}}`, "r.example")
	f.Add(`{"auths":{"r.example":{"auth":"OnA="}}}`, "")
	f.Fuzz(func(t *testing.T, text, host string) {
		file, err := parse(strings.NewReader(text))
		if err != nil {
			if len(err.Error()) > 100 {
				t.Errorf("error is %v", err)
			}
			return
		}
		if fromAuths(file, aliases(host)).Password.String() == "***" && len(file.AuthConfigs) == 0 {
			t.Error("a password out of nothing")
		}
	})
}

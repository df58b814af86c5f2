package containers

import (
	"bytes"
	"testing"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/version"
)

// FuzzCreateBody reads a create request of an old and of the newest version.
func FuzzCreateBody(f *testing.F) {
	for _, s := range []string{
		`{"Image":"x","Cmd":"sh","MacAddress":"02:42:ac:11:00:02","HostConfig":{"NetworkMode":"n","Annotations":{"a":"b"}},"NetworkingConfig":{"EndpointsConfig":{"n":null}}}`,
		`{"Entrypoint":["a"],"Healthcheck":{"StartInterval":5},"NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}`,
		`{"Config":null,"HostConfig":null}`,
		`[]`, `null`, `{"Image":7}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []string{"1.24", "1.44", ""} {
			at, err := version.Check(v)
			if err != nil {
				t.Fatal(err)
			}
			var b createBody
			if httpjson.Decode(bytes.NewReader(data), &b) != nil || b.Config == nil || b.complete(at) != nil {
				continue
			}
			if b.HostConfig == nil || b.NetworkingConfig == nil {
				t.Errorf("%s leaves a half nil", data)
			}
		}
	})
}

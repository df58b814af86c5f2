package options_test

import (
	"encoding/json"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/options"
)

const schema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"type": "object",
	"additionalProperties": false,
	"required": ["must"],
	"properties": {
		"must": {"type": "string"},
		"firewall": {"enum": ["auto", "iptables", "nftables"]},
		"mtu": {"type": "integer", "minimum": 68},
		"name": {"type": "string", "pattern": "^[a-z]+$"},
		"hosts": {"type": "object", "additionalProperties": {"$ref": "#/$defs/host"}}
	},
	"$defs": {"host": {"type": "object", "additionalProperties": false, "properties": {"insecure": {"type": "boolean"}}}}
}`

func TestMessagesNameTheKeyAndWhatIsAllowed(t *testing.T) {
	for _, c := range []struct{ name, options, want string }{
		{"all is well", `{"must": "x", "mtu": 1500, "hosts": {"a": {"insecure": true}}}`, ""},
		{"unknown key", `{"must": "x", "frewall": 1}`, "options: unknown option frewall: known are firewall, hosts, mtu, must, name: invalid argument"},
		{"unknown keys below", `{"must": "x", "hosts": {"a.b": {"x": 1, "y": 1}}}`, "options: unknown options hosts.a.b.x, hosts.a.b.y: known are hosts.a.b.insecure: invalid argument"},
		{"not allowed", `{"must": "x", "firewall": "ufw"}`, `options: firewall: "ufw" is not one of "auto", "iptables", "nftables": invalid argument`},
		{"wrong type", `{"must": 3}`, "options: must: is of type number, must be string: invalid argument"},
		{"missing", `{}`, "options: must must be given: invalid argument"},
		{"too small", `{"must": "x", "mtu": 1}`, "options: at '/mtu': minimum: got 1, want 68: invalid argument"},
		{"pattern", `{"must": "x", "name": "X"}`, "options: at '/name': 'X' does not match pattern '^[a-z]+$': invalid argument"},
		{"no object", `[]`, "options: not a JSON object: invalid argument"},
		{"no JSON", `{`, "options: not JSON: invalid argument: unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := options.Check(json.RawMessage(schema), json.RawMessage(c.options))
			if got := message(err); got != c.want {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
			if err != nil && !errdefs.IsInvalidArgument(err) {
				t.Fatalf("class: %v", err)
			}
		})
	}
}

func TestAnEmptySchemaAllowsNoOptions(t *testing.T) {
	if err := options.Check(nil, nil); err != nil {
		t.Fatal(err)
	}
	want := "options: unknown option a: there are none: invalid argument"
	if got := message(options.Check(nil, json.RawMessage(`{"a": 1}`))); got != want {
		t.Fatal(got)
	}
}

func TestABadSchemaIsTheDriversFault(t *testing.T) {
	for _, s := range []string{`{`, `{"type": 3}`, `{"$ref": "file:///etc/passwd"}`} {
		if err := options.Check(json.RawMessage(s), nil); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(schema), []byte(`{"must": "x", "firewall": "ufw"}`))
	f.Add([]byte(`{"oneOf": [{"type": "string"}]}`), []byte(`{"a": [1, null]}`))
	f.Fuzz(func(_ *testing.T, s, o []byte) { _ = options.Check(s, o) })
}

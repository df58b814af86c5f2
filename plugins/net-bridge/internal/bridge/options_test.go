package bridge

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/network"
	"github.com/strakehq/strake/sdk/options"
)

func TestOptionsAreCheckedByTheSchemaOrTheDriver(t *testing.T) {
	for opts, ok := range map[string]bool{
		``:                    true,
		`{}`:                  true,
		`{"bridge": "x0"}`:    true,
		`{"bridge": "a/b"}`:   false,
		`{"firewall": "ufw"}`: false,
		`{"pools": [{"base": "10.0.0.0/8", "size": 24}]}`:  true,
		`{"pools": [{"base": "10.0.0.0/24", "size": 16}]}`: false,
		`{"subnet": "10.0.0.1/24"}`:                        true,
		`{"subnet": "10.0.0.1"}`:                           false,
		`{"subnet": "fd00::1/64"}`:                         false,
		`{"ephemeral_ports": "1000-2000"}`:                 true,
		`{"ephemeral_ports": "2000-1000"}`:                 false,
		`{"mtu": 10}`:                                      false,
		`{"nosuch": 1}`:                                    false,
	} {
		err := options.Check(json.RawMessage(schema), json.RawMessage(opts))
		if err == nil {
			_, err = parseOptions(json.RawMessage(opts))
		}
		if (err == nil) != ok || err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", opts, err)
		}
	}
}

func TestNetworkOptions(t *testing.T) {
	n := &netState{}
	isDefault, err := n.options(network.Network{Name: "bridge", Options: map[string]string{
		optICC: "true", optMasquerade: "false", optMTU: "1400", optHostIP: "127.0.0.1",
	}}, "strake7")
	if err != nil || !isDefault || n.Bridge != "strake7" || !n.ICC || n.Masquerade || n.MTU != 1400 || !n.HostIP.IsLoopback() {
		t.Fatalf("got %+v, %v", n, err)
	}
	for key, value := range map[string]string{optICC: "perhaps", optMTU: "big", optHostIP: "host", optName: "a/b", "com.example.x": ""} {
		_, err := n.options(network.Network{Options: map[string]string{key: value}}, "strake7")
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
}

func TestIDsAreFileNames(t *testing.T) {
	for id, ok := range map[string]bool{"a": true, "A-b_c.9": true, "": false, "../x": false, "a/b": false, "ä": false, strings.Repeat("x", 65): false} {
		if err := checkID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}

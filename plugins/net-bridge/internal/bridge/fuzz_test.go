package bridge

import (
	"encoding/json"
	"testing"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
)

// FuzzHandle is given handles, which come back from the core's disk.
func FuzzHandle(f *testing.F) {
	f.Add(uint32(handleVersion), []byte(`{"Want":{"Endpoint":"e","Network":"n"},"Address":"10.1.2.3/16","MAC":"02:42:0a:01:02:03","Host":"veth0","Boot":"b"}`))
	f.Add(uint32(handleVersion), []byte(`{"Address":"x"}`))
	f.Add(uint32(99), []byte(`null`))
	f.Fuzz(func(t *testing.T, version uint32, state []byte) {
		d := &Driver{}
		a := network.Attachment{Endpoint: "e", Handle: driver.Handle{Version: version, State: state}}
		if e, _, err := d.adopt(a); err == nil {
			t.Errorf("a driver without networks took %+v over", e)
		}
	})
}

func FuzzNetworkOptions(f *testing.F) {
	f.Add("bridge", []byte(`{"com.docker.network.bridge.name":"br0","com.docker.network.driver.mtu":"1400","com.docker.network.bridge.host_binding_ipv4":"0.0.0.0"}`))
	f.Add("x", []byte(`{"com.docker.network.bridge.name":"../x","com.docker.network.bridge.enable_icc":"maybe"}`))
	f.Add("x", []byte(`{"com.docker.network.bridge.name":"..","com.docker.network.driver.mtu":"-1"}`))
	f.Fuzz(func(t *testing.T, name string, options []byte) {
		r := network.Network{Name: name}
		if json.Unmarshal(options, &r.Options) != nil {
			return
		}
		var n netState
		if _, err := n.options(r, "strake0"); err != nil {
			return
		}
		if n.Bridge == "." || n.Bridge == ".." || len(n.Bridge) > 15 {
			t.Errorf("bridge %q", n.Bridge)
		}
	})
}

func TestABridgeIsNotNamedAsADirectory(t *testing.T) {
	for _, name := range []string{".", "..", "a/b", "a b", "a\x00", ""} {
		if err := (&netState{}).setBridge(name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

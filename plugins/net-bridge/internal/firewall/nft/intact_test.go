package nft

import (
	"net/netip"
	"testing"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/sdk/network"
)

// A reload of the host's rules may bring back a table of before, with as many
// rules and elements as there should be.
func TestAStaleCopyIsNotIntact(t *testing.T) {
	ownNamespace(t)
	b, err := Open(firewall.Names{Table: "strake"})
	if err != nil {
		t.Fatal(err)
	}
	rules := func(bridge, addr string) firewall.Rules {
		host, to := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr(addr)
		return firewall.Rules{
			Networks: []firewall.Network{
				{Bridge: bridge, Subnet: netip.MustParsePrefix("10.1.0.0/24"), Masquerade: true, ICC: true},
				{Bridge: "inner0", Subnet: netip.MustParsePrefix("10.2.0.0/24"), Internal: true},
			},
			Forwards: []firewall.Forward{
				{Protocol: network.TCP, HostPort: 80, ContainerIP: to, ContainerPort: 80},
				{Protocol: network.TCP, HostIP: host, HostPort: 81, ContainerIP: to, ContainerPort: 80},
			},
		}
	}
	if err := b.Replace(t.Context(), rules("one0", "10.1.0.2")); err != nil {
		t.Fatal(err)
	}
	if !b.whole {
		t.Error("the kernel does not give rules back as they were written: they are only counted")
	}
	for _, tc := range []struct {
		bridge, addr string
		want         bool
	}{
		{"one0", "10.1.0.2", true}, {"one0", "10.1.0.3", false}, {"two0", "10.1.0.2", false},
	} {
		ok, err := b.Intact(t.Context(), rules(tc.bridge, tc.addr))
		if err != nil || ok != tc.want {
			t.Errorf("a table of one0, 10.1.0.2 for %s, %s: %v %v", tc.bridge, tc.addr, ok, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

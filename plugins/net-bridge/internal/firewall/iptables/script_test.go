package iptables

import (
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/sdk/network"
)

func example() firewall.Rules {
	return firewall.Rules{
		Networks: []firewall.Network{
			{Bridge: "strake0", Subnet: netip.MustParsePrefix("172.30.0.0/16"), Masquerade: true, ICC: true},
			{Bridge: "br-closed", Subnet: netip.MustParsePrefix("10.1.0.0/24"), Internal: true, Masquerade: true},
		},
		Forwards: []firewall.Forward{
			{Protocol: network.TCP, HostPort: 8080, ContainerIP: netip.MustParseAddr("172.30.0.2"), ContainerPort: 80},
			{Protocol: network.UDP, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 53, ContainerIP: netip.MustParseAddr("172.30.0.2"), ContainerPort: 5353},
		},
	}
}

func TestScriptsAreAsBefore(t *testing.T) {
	update := os.Getenv("UPDATE") != ""
	b := Open(firewall.NamesFor(firewall.DefaultBridge), Tools{})
	r := example()
	var change script
	b.forward(&change, "-D", r.Forwards[0])
	b.forward(&change, "-A", r.Forwards[1])
	have := parseSaved(string(b.replacement(nil, r).bytes()))
	for name, s := range map[string]script{
		"replace": b.replacement(nil, r), "change": change, "remove": b.removal(have),
	} {
		path := "testdata/" + name + ".rules"
		if update {
			if err := os.WriteFile(path, s.bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(s.bytes())); diff != "" {
			t.Errorf("%s differs (-want +got); UPDATE=1 rewrites it:\n%s", path, diff)
		}
	}
}

func TestChainNamesFitTheKernel(t *testing.T) {
	const longest = 28 // XT_EXTENSION_MAXNAMELEN less its end
	b := Open(firewall.NamesFor("fifteen-letters"), Tools{})
	for _, c := range append(b.chains(), [2]string{filter, b.userChain()}) {
		if len(c[1]) > longest {
			t.Errorf("%s has %d bytes", c[1], len(c[1]))
		}
	}
}

func FuzzParseSaved(f *testing.F) {
	f.Add("*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j X\nCOMMIT\n")
	f.Add("-A \n:\n*\n")
	f.Fuzz(func(_ *testing.T, out string) { parseSaved(out) })
}

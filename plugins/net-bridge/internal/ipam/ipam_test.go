package ipam

import (
	"net/netip"
	"testing"

	"github.com/containerd/errdefs"
)

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestFreeSubnetSkipsWhatOverlaps(t *testing.T) {
	pools := []Pool{{netip.MustParsePrefix("10.0.0.0/23"), 24}, {netip.MustParsePrefix("255.255.255.0/24"), 25}}
	for _, c := range []struct {
		used []netip.Prefix
		want string
	}{
		{nil, "10.0.0.0/24"},
		{prefixes("10.0.0.128/32"), "10.0.1.0/24"},
		{prefixes("10.0.0.0/8"), "255.255.255.0/25"},
		{prefixes("10.0.0.0/8", "255.255.255.0/26"), "255.255.255.128/25"},
		{prefixes("10.0.0.0/8", "255.0.0.0/8"), ""},
	} {
		got, err := FreeSubnet(pools, c.used)
		if c.want == "" {
			if !errdefs.IsResourceExhausted(err) {
				t.Errorf("%v: got %v, %v, want exhaustion", c.used, got, err)
			}
		} else if err != nil || got.String() != c.want {
			t.Errorf("%v: got %v, %v, want %s", c.used, got, err, c.want)
		}
	}
}

func TestNextGoesRoundAndSkipsWhatIsNotUsable(t *testing.T) {
	for _, c := range []struct{ prefix, within, last, used, want string }{
		{"10.0.0.0/29", "", "", "", "10.0.0.1"},
		{"10.0.0.0/29", "", "10.0.0.1", "", "10.0.0.2"},
		{"10.0.0.0/29", "", "10.0.0.6", "", "10.0.0.1"}, // .7 is the broadcast address
		{"10.0.0.0/29", "", "10.0.0.6", "10.0.0.1", "10.0.0.2"},
		{"10.0.0.0/29", "10.0.0.4/31", "", "", "10.0.0.5"}, // the search begins after the range's first
		{"10.0.0.0/29", "10.0.0.4/31", "10.0.0.5", "", "10.0.0.4"},
		{"10.0.0.0/29", "10.0.0.4/32", "", "", "10.0.0.4"},
		{"10.0.0.0/29", "10.0.0.4/32", "", "10.0.0.4", ""},
		{"10.0.0.0/31", "", "", "", ""},
		{"255.255.255.248/29", "", "255.255.255.254", "", "255.255.255.249"},
		{"0.0.0.0/30", "", "0.0.0.2", "", "0.0.0.1"},
		{"10.0.0.0/29", "", "192.168.0.1", "", "10.0.0.1"}, // the last one is of another subnet
	} {
		s := Subnet{Prefix: netip.MustParsePrefix(c.prefix)}
		if c.within != "" {
			s.Range = netip.MustParsePrefix(c.within)
		}
		var last netip.Addr
		if c.last != "" {
			last = netip.MustParseAddr(c.last)
		}
		got, err := s.Next(last, func(a netip.Addr) bool { return a.String() == c.used })
		if c.want == "" {
			if !errdefs.IsResourceExhausted(err) {
				t.Errorf("%+v: got %v, %v, want exhaustion", c, got, err)
			}
		} else if err != nil || got.String() != c.want {
			t.Errorf("%+v: got %v, %v", c, got, err)
		}
	}
}

func TestPoolsAreChecked(t *testing.T) {
	for _, p := range DefaultPools() {
		if err := p.Validate(); err != nil {
			t.Errorf("default pool: %v", err)
		}
	}
	for _, p := range []Pool{{}, {netip.MustParsePrefix("10.0.0.0/16"), 8}, {netip.MustParsePrefix("10.0.0.0/16"), 30}, {netip.MustParsePrefix("fd00::/48"), 64}} {
		if err := p.Validate(); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

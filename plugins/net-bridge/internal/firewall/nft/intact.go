package nft

import (
	"reflect"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
)

// intact compares the rules of each chain and the elements of each set with what
// r asks for. Numbers alone would be those of a stale copy of the table, too,
// which a reload of the host's rules brings back. With loose, rules are counted
// all the same.
func (l layout) intact(c *nftables.Conn, r firewall.Rules, loose bool) (bool, error) {
	want := l.rules(r.Networks)
	for _, ch := range l.chains.own() {
		have, err := c.GetRules(l.table, ch)
		if err != nil || len(have) != len(want[ch]) {
			return false, err
		}
		for i, h := range have {
			if !loose && !same(h.Exprs, want[ch][i]) {
				return false, nil
			}
		}
	}
	for s, elems := range l.elements(r) {
		have, err := c.GetSetElements(s)
		if err != nil || !equal(have, elems) {
			return false, err
		}
	}
	return true, nil
}

func same(have, want rule) bool {
	if len(have) != len(want) {
		return false
	}
	for i := range have {
		if !reflect.DeepEqual(plain(have[i]), plain(want[i])) {
			return false
		}
	}
	return true
}

// plain is an expression without what the kernel does not give back.
func plain(e expr.Any) expr.Any {
	switch e := e.(type) {
	case *expr.Lookup:
		named := *e
		named.SetID = 0
		return &named
	case *expr.NAT: // a range of one: some kernels say its end
		ranged := *e
		ranged.RegAddrMax = max(e.RegAddrMax, e.RegAddrMin)
		ranged.RegProtoMax = max(e.RegProtoMax, e.RegProtoMin)
		return &ranged
	}
	return e
}

func equal(have, want []nftables.SetElement) bool {
	if len(have) != len(want) {
		return false
	}
	values := make(map[string]string, len(want))
	for _, e := range want {
		values[string(e.Key)] = string(e.Val)
	}
	for _, e := range have {
		if v, ok := values[string(e.Key)]; !ok || v != string(e.Val) {
			return false
		}
	}
	return true
}

package nft

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
)

// rule is a rule's expressions.
type rule []expr.Any

// match joins conditions and ends with a verdict.
func match(parts ...rule) rule {
	var r rule
	for _, p := range parts {
		r = append(r, p...)
	}
	return r
}

func (l layout) addRules(c *nftables.Conn, ns []firewall.Network) {
	rules := l.rules(ns)
	for _, ch := range l.chains.own() {
		for _, r := range rules[ch] {
			c.AddRule(&nftables.Rule{Table: l.table, Chain: ch, Exprs: r})
		}
	}
}

// rules are all rules by chain. The number of rules grows with networks only.
func (l layout) rules(ns []firewall.Network) map[*nftables.Chain][]rule {
	m := map[*nftables.Chain][]rule{
		l.chains.raw:        l.rawRules(),
		l.chains.prerouting: {match(toLocal(), verdict(expr.VerdictJump, l.chains.dnat.Name))},
		l.chains.output:     {match(toLocal(), verdict(expr.VerdictJump, l.chains.dnat.Name))},
		l.chains.dnat:       {l.dnatOneAddr(), l.dnatAnyAddr()},
	}
	m[l.chains.forward] = l.forwardRules(ns)
	for _, n := range ns {
		m[l.chains.postrouting] = append(m[l.chains.postrouting], postroutingRules(n)...)
	}
	return m
}

// rawRules guard the host's loopback addresses: the bridges have
// route_localnet set, and a port published on 127.0.0.1 is for the host alone,
// whatever a neighbour on the wire puts into a packet's destination.
func (l layout) rawRules() []rule {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	return []rule{
		match(l.fromBridge(), daddr(loopback), verdict(expr.VerdictDrop, "")),
		match(iifname("lo", false), loadAddr(1), loadProtoPort(9), lookup(l.loopback, 0), verdict(expr.VerdictDrop, "")),
	}
}

func (l layout) dnatOneAddr() rule {
	return match(loadAddr(1), loadProtoPort(9), lookup(l.oneAddr, 1), dnat())
}

func (l layout) dnatAnyAddr() rule {
	return match(loadProtoPort(1), lookup(l.anyAddr, 1), dnat())
}

// forwardRules decide on packets from, to and between bridges. A port that was
// published is open to all; beyond that networks are closed to each other and
// to the outside.
func (l layout) forwardRules(ns []firewall.Network) []rule {
	accept, drop := verdict(expr.VerdictAccept, ""), verdict(expr.VerdictDrop, "")
	rules := []rule{verdict(expr.VerdictJump, l.chains.user.Name)}
	for _, n := range ns {
		if n.Internal {
			rules = append(rules,
				match(iifname(n.Bridge, true), oifname(n.Bridge, false), drop),
				match(oifname(n.Bridge, true), iifname(n.Bridge, false), drop))
		}
	}
	rules = append(rules,
		match(l.toBridge(), ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept),
		match(l.toBridge(), ctStatusDNAT(), accept))
	for _, n := range ns {
		between := drop
		if n.ICC {
			between = accept
		}
		rules = append(rules, match(iifname(n.Bridge, true), oifname(n.Bridge, true), between))
	}
	return append(rules,
		match(l.toBridge(), drop),
		match(l.fromBridge(), accept))
}

// postroutingRules hide container addresses from the outside, loopback
// addresses from containers, and a container that reaches its own network
// through a published port from its peer, so that answers come back through
// the host.
func postroutingRules(n firewall.Network) []rule {
	masq := rule{&expr.Masq{}}
	rules := []rule{
		match(oifname(n.Bridge, true), saddr(netip.MustParsePrefix("127.0.0.0/8")), masq),
		match(oifname(n.Bridge, true), saddr(n.Subnet), ctStatusDNAT(), masq),
	}
	if n.Masquerade && !n.Internal {
		rules = append(rules, match(oifname(n.Bridge, false), saddr(n.Subnet), masq))
	}
	return rules
}

func verdict(kind expr.VerdictKind, chain string) rule {
	return rule{&expr.Verdict{Kind: kind, Chain: chain}}
}

// toLocal matches packets to an address of the host.
func toLocal() rule {
	return rule{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: native(unix.RTN_LOCAL)},
	}
}

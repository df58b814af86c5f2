package nft

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/mdlayher/netlink"
)

// layout names the parts of the table.
type layout struct {
	table *nftables.Table
	// anyAddr maps protocol and host port to container address and port,
	// oneAddr the same for one address of the host.
	anyAddr, oneAddr *nftables.Set
	// loopback holds the ports that only the host itself may use.
	loopback *nftables.Set
	// bridges holds the names of all bridges.
	bridges *nftables.Set
	chains  chains
}

type chains struct {
	raw, prerouting, output, dnat, forward, postrouting, user *nftables.Chain
}

func newLayout(name string) (layout, error) {
	t := &nftables.Table{Name: name, Family: nftables.TableFamilyIPv4}
	l := layout{table: t}
	portKey, err1 := nftables.ConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)
	addrKey, err2 := nftables.ConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService)
	target, err3 := nftables.ConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return l, fmt.Errorf("nftables table %s: set types: %w", name, err)
		}
	}
	l.anyAddr = &nftables.Set{Table: t, Name: "ports", IsMap: true, Concatenation: true, KeyType: portKey, DataType: target}
	l.oneAddr = &nftables.Set{Table: t, Name: "address-ports", IsMap: true, Concatenation: true, KeyType: addrKey, DataType: target}
	l.loopback = &nftables.Set{Table: t, Name: "loopback-ports", Concatenation: true, KeyType: addrKey}
	l.bridges = &nftables.Set{Table: t, Name: "bridges", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
	l.chains = newChains(t)
	return l, nil
}

func newChains(t *nftables.Table) chains {
	base := func(name string, typ nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		return &nftables.Chain{Name: name, Table: t, Type: typ, Hooknum: hook, Priority: prio, Policy: &accept}
	}
	return chains{
		raw:         base("raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw),
		prerouting:  base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest),
		output:      base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest),
		forward:     base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),
		postrouting: base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource),
		// Not "dnat", which is a word of the language: `nft -f` would not load what
		// `nft list ruleset` has saved.
		dnat: &nftables.Chain{Name: "published", Table: t},
		user: &nftables.Chain{Name: "STRAKE-USER", Table: t},
	}
}

// own are the chains that Replace rewrites, all but the administrator's.
func (c chains) own() []*nftables.Chain {
	return []*nftables.Chain{c.raw, c.prerouting, c.output, c.dnat, c.forward, c.postrouting}
}

func (l layout) sets() []*nftables.Set {
	return []*nftables.Set{l.anyAddr, l.oneAddr, l.loopback, l.bridges}
}

func (l layout) addSets(c *nftables.Conn) error {
	for _, s := range l.sets() {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
		c.FlushSet(s)
	}
	return nil
}

func (l layout) addChains(c *nftables.Conn) {
	for _, ch := range append([]*nftables.Chain{l.chains.user}, l.chains.own()...) {
		c.AddChain(ch)
	}
	for _, ch := range l.chains.own() {
		c.FlushChain(ch)
	}
}

func bigBuffers(c *netlink.Conn) error { return c.SetWriteBuffer(sendBuffer) }

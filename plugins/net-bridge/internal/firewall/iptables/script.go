package iptables

import (
	"fmt"
	"strings"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
)

// The tables.
const (
	raw    = "raw"
	filter = "filter"
	nat    = "nat"
)

// tables are in the order in which they are written, one transaction each: what
// closes comes before what opens.
func tables() []string { return []string{raw, filter, nat} }

// script is the input of iptables-restore, by table.
type script struct{ lines map[string][]string }

func (s *script) add(table, format string, args ...any) {
	if s.lines == nil {
		s.lines = map[string][]string{}
	}
	s.lines[table] = append(s.lines[table], fmt.Sprintf(format, args...))
}

func (s script) bytes() []byte {
	var b strings.Builder
	for _, t := range tables() {
		if len(s.lines[t]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "*%s\n%s\nCOMMIT\n", t, strings.Join(s.lines[t], "\n"))
	}
	return []byte(b.String())
}

// rules are those appended, by "table chain".
func (s script) rules() map[string][]string {
	out := map[string][]string{}
	for t, lines := range s.lines {
		for _, l := range lines {
			if f := strings.Fields(l); f[0] == "-A" {
				key := t + " " + f[1]
				out[key] = append(out[key], l)
			}
		}
	}
	return out
}

// jump leads from a chain of the kernel's to one of ours.
type jump struct{ table, from, rule string }

func (j jump) key() string { return j.table + " -A " + j.from + " " + j.rule }

func (b *Backend) chain(name string) string { return b.prefix + "-" + name }

// userChain is the administrator's; it is never flushed.
func (b *Backend) userChain() string { return b.chain("USER") }

func (b *Backend) jumps() []jump {
	local := "-m addrtype --dst-type LOCAL -j " + b.chain("DNAT")
	return []jump{
		{raw, "PREROUTING", "-j " + b.chain("RAW")},
		{nat, "PREROUTING", local},
		{nat, "OUTPUT", local},
		{nat, "POSTROUTING", "-j " + b.chain("POSTROUTING")},
		{filter, "FORWARD", "-j " + b.chain("FORWARD")},
	}
}

// chains are those that Replace rewrites.
func (b *Backend) chains() [][2]string {
	return [][2]string{
		{raw, b.chain("RAW")},
		{nat, b.chain("DNAT")},
		{nat, b.chain("POSTROUTING")},
		{filter, b.chain("FORWARD")},
	}
}

// replacement rewrites everything. Jumps move to the front, so that the
// accepting rules come before those of others.
func (b *Backend) replacement(have *saved, r firewall.Rules) script {
	var s script
	if have == nil || !have.chains[filter+" "+b.userChain()] {
		s.add(filter, ":%s - [0:0]", b.userChain())
	}
	for _, c := range b.chains() {
		s.add(c[0], ":%s - [0:0]", c[1])
	}
	b.unjump(&s, have)
	for _, j := range b.jumps() {
		s.add(j.table, "-I %s %s", j.from, j.rule)
	}
	for _, n := range r.Networks {
		s.add(raw, "-A %s -d 127.0.0.0/8 -i %s -j DROP", b.chain("RAW"), n.Bridge)
		b.postrouting(&s, n)
	}
	b.forwarding(&s, r.Networks)
	for _, f := range r.Forwards {
		b.forward(&s, "-A", f)
	}
	return s
}

func (b *Backend) unjump(s *script, have *saved) {
	for _, j := range b.jumps() {
		if have != nil && have.lines[j.key()] {
			s.add(j.table, "-D %s %s", j.from, j.rule)
		}
	}
}

func (b *Backend) removal(have *saved) script {
	var s script
	b.unjump(&s, have)
	for _, c := range b.chains() {
		if have.chains[c[0]+" "+c[1]] {
			s.add(c[0], "-F %s", c[1])
			s.add(c[0], "-X %s", c[1])
		}
	}
	if user := filter + " " + b.userChain(); have.chains[user] && len(have.rules[user]) == 0 {
		s.add(filter, "-X %s", b.userChain())
	}
	return s
}

// forward publishes one port, or with op -D no longer.
func (b *Backend) forward(s *script, op string, f firewall.Forward) {
	to := ""
	if f.HostIP.IsValid() {
		to = fmt.Sprintf("-d %s/32 ", f.HostIP)
	}
	p := fmt.Sprintf("-p %s -m %s --dport %d", f.Protocol, f.Protocol, f.HostPort)
	if f.Loopback() {
		s.add(raw, "%s %s %s! -i lo %s -j DROP", op, b.chain("RAW"), to, p)
	}
	s.add(nat, "%s %s %s%s -j DNAT --to-destination %s:%d", op, b.chain("DNAT"), to, p, f.ContainerIP, f.ContainerPort)
}

func (b *Backend) postrouting(s *script, n firewall.Network) {
	c := b.chain("POSTROUTING")
	s.add(nat, "-A %s -s 127.0.0.0/8 -o %s -j MASQUERADE", c, n.Bridge)
	s.add(nat, "-A %s -s %s -o %s -m conntrack --ctstate DNAT -j MASQUERADE", c, n.Subnet, n.Bridge)
	if n.Masquerade && !n.Internal {
		s.add(nat, "-A %s -s %s ! -o %s -j MASQUERADE", c, n.Subnet, n.Bridge)
	}
}

// forwarding decides on packets from, to and between bridges, see forwardRules
// of the nftables backend.
func (b *Backend) forwarding(s *script, ns []firewall.Network) {
	c := b.chain("FORWARD")
	s.add(filter, "-A %s -j %s", c, b.userChain())
	for _, n := range ns {
		if n.Internal {
			s.add(filter, "-A %s -i %s ! -o %s -j DROP", c, n.Bridge, n.Bridge)
			s.add(filter, "-A %s ! -i %s -o %s -j DROP", c, n.Bridge, n.Bridge)
		}
	}
	for _, n := range ns {
		s.add(filter, "-A %s -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", c, n.Bridge)
		s.add(filter, "-A %s -o %s -m conntrack --ctstate DNAT -j ACCEPT", c, n.Bridge)
	}
	for _, n := range ns {
		between := "DROP"
		if n.ICC {
			between = "ACCEPT"
		}
		s.add(filter, "-A %s -i %s -o %s -j %s", c, n.Bridge, n.Bridge, between)
	}
	for _, n := range ns {
		s.add(filter, "-A %s -o %s -j DROP", c, n.Bridge)
	}
	for _, n := range ns {
		s.add(filter, "-A %s -i %s -j ACCEPT", c, n.Bridge)
	}
}

// saved is what iptables-save says.
type saved struct {
	// lines are rules as "table -A chain …", chains "table chain", rules the
	// rules by "table chain".
	lines, chains map[string]bool
	rules         map[string][]string
}

func parseSaved(out string) *saved {
	s := &saved{lines: map[string]bool{}, chains: map[string]bool{}, rules: map[string][]string{}}
	table := ""
	for l := range strings.Lines(out) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "*"):
			table = l[1:]
		case strings.HasPrefix(l, ":"):
			name, _, _ := strings.Cut(l[1:], " ")
			s.chains[table+" "+name] = true
		case strings.HasPrefix(l, "-A "):
			s.lines[table+" "+l] = true
			key := table + " " + strings.Fields(l)[1]
			s.rules[key] = append(s.rules[key], l)
		}
	}
	return s
}

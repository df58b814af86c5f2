package conformance

import (
	"errors"
	"time"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"

	"github.com/strakehq/strake/sdk/network"
)

func crashCases() []netCase {
	return []netCase{
		{"an attachment and its ports outlive the driver, and it is recovered", func(l *netLab) {
			n := l.network(network.Network{})
			g := l.attach(n, l.ports(port(18100, 80, network.TCP))...)
			g.serve("tcp4", ":80", "g")
			l.crash()
			l.answers(18100, "g")
			if !l.listed(g.Endpoint) {
				l.Fatalf("the endpoint is not listed")
			}
			for range 2 {
				a, err := l.d.Recover(l.ctx, g.Attachment)
				l.NoError(err, "recover")
				sameAttachment(l, a, g.Attachment)
			}
			l.NoError(l.d.Check(l.ctx, g.Endpoint), "check")
			l.answers(18100, "g")
			if len(g.Ports) > 0 {
				err := l.attachErr(n, func(r *network.AttachRequest) { r.Ports = g.request.Ports })
				l.ErrorIs(err, errdefs.ErrConflict, "publish the port once more")
			}
			if other := l.attach(n); other.addr() == g.addr() {
				l.Fatalf("%s was given out twice", g.addr())
			}
		}},
		{"recovering brings back a link that was deleted", func(l *netLab) {
			g := l.attach(l.network(network.Network{}), l.ports(port(18101, 80, network.TCP))...)
			l.NoError(g.do(func() error {
				k, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.LinkDel(k)
			}), "delete eth0")
			if l.d.Check(l.ctx, g.Endpoint) == nil { // the driver may have put it back by itself
				l.NoError(g.do(func() error {
					_, err := netlink.LinkByName("eth0")
					return err
				}), "eth0, with which check finds nothing wrong")
			}
			a, err := l.d.Recover(l.ctx, g.Attachment)
			l.NoError(err, "recover")
			sameAttachment(l, a, g.Attachment)
			l.NoError(l.d.Check(l.ctx, g.Endpoint), "check")
			g.serve("tcp4", ":80", "g")
			l.answers(18101, "g")
		}},
		{"recovering into a namespace that is gone is ErrNotFound", func(l *netLab) {
			g := l.attach(l.network(network.Network{}))
			g.unpin()
			l.crash()
			_, err := l.d.Recover(l.ctx, g.Attachment)
			l.ErrorIs(err, errdefs.ErrNotFound, "recover")
		}},
		{"collecting removes what is not named and nothing else", collects},
	}
}

// ports are p where the driver publishes ports, else none.
func (l *netLab) ports(p ...network.Port) []network.Port {
	for _, c := range l.info.Capabilities {
		if c == network.CapPorts {
			return p
		}
	}
	return nil
}

// answers demands an answer on a published port, where ports are published.
func (l *netLab) answers(hostPort int, greeting string) {
	if len(l.ports(port(hostPort, 1, network.TCP))) > 0 {
		(*netNS)(nil).reaches(l.T, "the host", "tcp4", hostAddr("127.0.0.1", uint16(hostPort)), greeting)
	}
}

func collects(l *netLab) {
	keep, drop := l.network(network.Network{}), l.network(network.Network{})
	a := l.attach(keep, l.ports(port(18102, 80, network.TCP))...)
	b := l.attach(keep, l.ports(port(18103, 80, network.TCP))...)
	c := l.attach(drop)
	for _, g := range []guest{a, b} {
		g.serve("tcp4", ":80", g.Container)
	}
	l.crash()
	for range 2 {
		l.NoError(l.d.Collect(l.ctx, []network.NetworkID{keep.ID}, []network.EndpointID{a.Endpoint}), "collect")
	}
	if !l.listed(a.Endpoint) || l.listed(b.Endpoint) || l.listed(c.Endpoint) {
		l.Fatalf("not exactly the named endpoint is left")
	}
	l.answers(18102, a.Container)
	(*netNS)(nil).fails(l.T, "the host", "127.0.0.1:18103")
	l.NoError(l.d.Check(l.ctx, a.Endpoint), "check the endpoint that stays")
	eventually(l.T, 5*time.Second, "the other links are gone", func() error {
		for _, g := range []guest{b, c} {
			if err := g.do(noEth0); err != nil {
				return err
			}
		}
		return nil
	})
	l.ErrorIs(l.attachErr(drop, func(*network.AttachRequest) {}), errdefs.ErrNotFound, "attach to the collected network")
}

func noEth0() error {
	if _, err := netlink.LinkByName("eth0"); err == nil {
		return errors.New("eth0 is still there")
	}
	return nil
}

func flushCases(env NetworkEnv) []netCase {
	if env.Flush == nil {
		return nil
	}
	return []netCase{
		{"ensuring a network puts back rules that were flushed", func(l *netLab) {
			n := l.network(network.Network{})
			g := l.attach(n, l.ports(port(18110, 80, network.TCP))...)
			g.serve("tcp4", ":80", "g")
			l.NoError(env.Flush(l.ctx), "flush the rules")
			_, err := l.d.EnsureNetwork(l.ctx, n)
			l.NoError(err, "ensure")
			l.answers(18110, "g")
		}},
		{"rules that were flushed come back by themselves", func(l *netLab) {
			l.needs(network.CapPorts)
			g := l.attach(l.network(network.Network{}), port(18111, 80, network.TCP))
			g.serve("tcp4", ":80", "g")
			flushed(l, env, 18111)
		}},
		{"a port published on a loopback address is for the host alone after rules were flushed", func(l *netLab) {
			l.needs(network.CapPorts)
			publishedOnLoopback(l, 18112).forHostAlone(func() { flushed(l, env, 18112) })
		}},
		{"containers of different networks do not reach each other after rules were flushed", func(l *netLab) {
			l.needs(network.CapPorts) // by which the end of the repair is seen
			a, b := l.attach(l.network(network.Network{})), l.attach(l.network(network.Network{}), port(18113, 80, network.TCP))
			b.serve("tcp4", ":80", "b")
			c := l.attach(l.network(network.Network{Internal: true}))
			c.serve("tcp4", ":80", "c")
			flushed(l, env, 18113)
			a.fails(l.T, "a", b.web())
			a.fails(l.T, "a", c.web())
			b.fails(l.T, "b", c.web())
		}},
	}
}

// flushed has all rules removed and waits until they are back: a port of the
// host, which needs them, answers.
func flushed(l *netLab, env NetworkEnv, hostPort uint16) {
	l.NoError(env.Flush(l.ctx), "flush the rules")
	eventually(l.T, 10*time.Second, "the port answers", func() error {
		_, _, err := (*netNS)(nil).call(l.ctx, "tcp4", hostAddr("127.0.0.1", hostPort), impatience)
		return err
	})
}

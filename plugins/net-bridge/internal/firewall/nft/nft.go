// Package nft keeps the rules in one nftables table, over netlink and without
// the nft program. Published ports are elements of two maps, so that a packet
// costs one look-up however many ports there are, and a container's ports are
// one small batch.
package nft

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
)

// Name is the backend's name in the options.
const Name = "nftables"

// sendBuffer has room for a batch with some ten thousand ports.
const sendBuffer = 8 << 20

// Backend is the nftables backend.
type Backend struct {
	conn *nftables.Conn
	// layout is the table's fixed part: sets and chains.
	layout layout
	// whole says that this kernel has given rules back as they were written, so
	// that others are somebody else's. On one that does not they are counted.
	whole bool
}

var _ firewall.Backend = (*Backend)(nil)

// Open connects to nftables in the network namespace of the calling process.
// A kernel without it is an error.
func Open(n firewall.Names) (*Backend, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(bigBuffers))
	if err != nil {
		return nil, fmt.Errorf("nftables: connect: %w", err)
	}
	if _, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4); err != nil {
		return nil, errors.Join(fmt.Errorf("nftables: not usable, is the kernel module nf_tables there?: %w", err), conn.CloseLasting())
	}
	l, err := newLayout(n.Table)
	if err != nil {
		return nil, errors.Join(err, conn.CloseLasting())
	}
	return &Backend{conn: conn, layout: l}, nil
}

// Name returns "nftables".
func (b *Backend) Name() string { return Name }

// Close closes the connection.
func (b *Backend) Close() error { return b.conn.CloseLasting() }

// Replace rewrites everything but the administrator's chain in one
// transaction. When a stranger has changed the shape of the table so that this
// fails, the whole table is made anew.
func (b *Backend) Replace(_ context.Context, r firewall.Rules) error {
	if err := b.replace(r, false); err != nil {
		if again := b.replace(r, true); again != nil {
			return fmt.Errorf("nftables table %s: replace: %w", b.layout.table.Name, errors.Join(err, again))
		}
	}
	if !b.whole {
		ok, err := b.layout.intact(b.conn, r, false)
		b.whole = err == nil && ok
	}
	return nil
}

func (b *Backend) replace(r firewall.Rules, anew bool) error {
	b.conn.AddTable(b.layout.table)
	if anew {
		b.conn.DelTable(b.layout.table)
		b.conn.AddTable(b.layout.table)
	}
	if err := b.layout.addSets(b.conn); err != nil {
		return err
	}
	b.layout.addChains(b.conn)
	b.layout.addRules(b.conn, r.Networks)
	if err := b.conn.SetAddElements(b.layout.bridges, bridgeElements(r.Networks)); err != nil {
		return err
	}
	if err := firewall.Chunks(r.Forwards, b.layout.add(b.conn)); err != nil {
		return err
	}
	return b.conn.Flush()
}

// Change adds and removes map elements in one transaction.
func (b *Backend) Change(_ context.Context, add, remove []firewall.Forward) error {
	err := errors.Join(
		firewall.Chunks(remove, b.layout.remove(b.conn)),
		firewall.Chunks(add, b.layout.add(b.conn)),
		b.conn.Flush(),
	)
	if err != nil {
		return fmt.Errorf("nftables table %s: change: %w", b.layout.table.Name, err)
	}
	return nil
}

// Intact compares rules and elements with what the kernel has.
func (b *Backend) Intact(_ context.Context, r firewall.Rules) (bool, error) {
	ok, err := b.layout.intact(b.conn, r, !b.whole)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("nftables table %s: check: %w", b.layout.table.Name, err)
	}
	return ok, nil
}

// Remove deletes the table, or all but the administrator's rules when there are
// some.
func (b *Backend) Remove(ctx context.Context) error {
	rules, err := b.conn.GetRules(b.layout.table, b.layout.chains.user)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("nftables table %s: remove: %w", b.layout.table.Name, err)
	}
	if len(rules) > 0 {
		return b.Replace(ctx, firewall.Rules{})
	}
	b.conn.AddTable(b.layout.table) // so that there is one to delete
	b.conn.DelTable(b.layout.table)
	if err := b.conn.Flush(); err != nil {
		return fmt.Errorf("nftables table %s: remove: %w", b.layout.table.Name, err)
	}
	return nil
}

// ForwardDrops says whether the host's iptables, in the variant that lives in
// nftables, drops by policy what it does not accept. What one table drops no
// other can save.
func ForwardDrops() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("nftables: connect: %w", err)
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("nftables: list chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name == "filter" && ch.Name == "FORWARD" && ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop {
			return true, nil
		}
	}
	return false, nil
}

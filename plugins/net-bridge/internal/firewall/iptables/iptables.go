// Package iptables keeps the rules in chains of iptables, for hosts where
// others rule there too: a FORWARD chain that drops by policy is overruled only
// from within. Every change is one run of iptables-restore.
package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
)

// Name is the backend's name in the options.
const Name = "iptables"

// Backend is the iptables backend.
type Backend struct {
	tools  Tools
	prefix string
	// whole says that this iptables prints rules as they were written, so that
	// others are somebody else's. With one that does not they are counted.
	whole bool
}

var _ firewall.Backend = (*Backend)(nil)

// Tools are the programs, all of one variant.
type Tools struct {
	Restore, Save, Iptables string
	// Legacy: the variant of the kernel's ip_tables, not of nf_tables.
	Legacy bool
}

// Find finds the host's iptables, or with legacy its iptables-legacy.
// ErrFailedPrecondition: not installed.
func Find(ctx context.Context, legacy bool) (Tools, error) {
	stem := "iptables"
	if legacy {
		stem = "iptables-legacy"
	}
	var t Tools
	for suffix, to := range map[string]*string{"": &t.Iptables, "-restore": &t.Restore, "-save": &t.Save} {
		path, err := look(stem + suffix)
		if err != nil {
			return t, fmt.Errorf("%s%s is not installed, install iptables or set the option firewall to nftables: %w: %w", stem, suffix, err, errdefs.ErrFailedPrecondition)
		}
		*to = path
	}
	out, err := run(ctx, nil, t.Iptables, "--version")
	t.Legacy = strings.Contains(out, "legacy")
	return t, err
}

// look finds a program also where a daemon's search path may not lead.
func look(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// Open makes a backend.
func Open(n firewall.Names, t Tools) *Backend { return &Backend{tools: t, prefix: n.Prefix} }

// Name returns "iptables".
func (b *Backend) Name() string { return Name }

// Legacy says whether nobody tells of changes to the rules.
func (b *Backend) Legacy() bool { return b.tools.Legacy }

// Close does nothing: there is no connection.
func (b *Backend) Close() error { return nil }

// ForwardDrops says whether the host's FORWARD chain drops what no rule
// accepts.
func ForwardDrops(ctx context.Context, t Tools) (bool, error) {
	out, err := run(ctx, nil, t.Iptables, "-w", "-S", "FORWARD")
	return strings.HasPrefix(out, "-P FORWARD DROP"), err
}

// Replace rewrites all chains but the administrator's.
func (b *Backend) Replace(ctx context.Context, r firewall.Rules) error {
	have, err := b.saved(ctx)
	if err != nil {
		return err
	}
	if err := b.restore(ctx, b.replacement(have, r)); err != nil || b.whole {
		return err
	}
	if have, err = b.saved(ctx); err != nil {
		return err
	}
	b.whole = b.intact(have, r, false)
	return nil
}

// Change appends and deletes single rules.
func (b *Backend) Change(ctx context.Context, add, remove []firewall.Forward) error {
	var s script
	for _, f := range remove {
		b.forward(&s, "-D", f)
	}
	for _, f := range add {
		b.forward(&s, "-A", f)
	}
	return b.restore(ctx, s)
}

// Intact compares every chain's rules with what should be there, and looks for
// the jumps to them.
func (b *Backend) Intact(ctx context.Context, r firewall.Rules) (bool, error) {
	have, err := b.saved(ctx)
	if err != nil {
		return false, err
	}
	return b.intact(have, r, !b.whole), nil
}

// intact is true of a stale copy of the chains with as many rules only when it is
// loose.
func (b *Backend) intact(have *saved, r firewall.Rules, loose bool) bool {
	want := b.replacement(nil, r).rules()
	for _, c := range b.chains() {
		key := c[0] + " " + c[1]
		if !have.chains[key] || len(have.rules[key]) != len(want[key]) {
			return false
		}
		if c[1] == b.chain("RAW") || c[1] == b.chain("DNAT") { // forwards come in any order
			slices.Sort(have.rules[key])
			slices.Sort(want[key])
		}
		if !loose && !slices.Equal(have.rules[key], want[key]) {
			return false
		}
	}
	for _, j := range b.jumps() {
		if !have.lines[j.key()] {
			return false
		}
	}
	return true
}

// Remove takes away jumps and chains, the administrator's chain only when it
// is empty.
func (b *Backend) Remove(ctx context.Context) error {
	have, err := b.saved(ctx)
	if err != nil {
		return err
	}
	return b.restore(ctx, b.removal(have))
}

func (b *Backend) restore(ctx context.Context, s script) error {
	in := s.bytes()
	if len(in) == 0 {
		return nil
	}
	_, err := run(ctx, in, b.tools.Restore, "--noflush", "-w", "10")
	return err
}

func (b *Backend) saved(ctx context.Context) (*saved, error) {
	out, err := run(ctx, nil, b.tools.Save)
	if err != nil {
		return nil, err
	}
	return parseSaved(out), nil
}

func run(ctx context.Context, in []byte, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w: %s", filepath.Base(path), err, strings.TrimSpace(complaint.String())), ctx.Err())
	}
	return out.String(), nil
}

package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall/iptables"
	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall/nft"
)

// autoFirewall lets the driver choose: nftables, unless the host's iptables
// drops forwarded packets by policy. A packet must be accepted by all tables,
// so then only rules within that FORWARD chain can let it pass.
const autoFirewall = "auto"

// openFirewall opens the backend and removes the rules of another one that a
// former process used.
func (d *Driver) openFirewall(ctx context.Context) error {
	watcher, err := nft.NewWatcher()
	if err != nil {
		d.log.Debug("no news of nftables", "err", err)
	}
	b, err := d.choose(ctx)
	if err != nil {
		return errors.Join(err, closeWatcher(watcher))
	}
	d.log.Info("firewall backend chosen", "backend", b.Name(), "option", d.settings.Firewall)
	d.watcher = watcher
	if err := d.replaceFormer(ctx, b.Name()); err != nil {
		d.log.Warn("rules of the former firewall backend cannot be removed", "err", err)
	}
	d.rules = firewall.NewKeeper(d.log.Named("firewall"), b, d.clock(b))
	return nil
}

func closeWatcher(w *nft.Watcher) error {
	if w == nil {
		return nil
	}
	return w.Close()
}

func (d *Driver) closeKernel() error {
	d.links.Close()
	return errors.Join(d.rules.Close(), closeWatcher(d.watcher))
}

// clock tells of changes to a backend's rules, if the kernel does.
func (d *Driver) clock(b firewall.Backend) firewall.Clock {
	if i, ok := b.(*iptables.Backend); d.watcher == nil || ok && i.Legacy() {
		return nil
	}
	return d.watcher
}

func (d *Driver) names() firewall.Names { return firewall.NamesFor(d.settings.Bridge) }

func (d *Driver) choose(ctx context.Context) (firewall.Backend, error) {
	switch d.settings.Firewall {
	case nft.Name:
		return nft.Open(d.names())
	case iptables.Name:
		return d.openIptables(ctx, false)
	}
	drops, legacy, err := forwardDrops(ctx)
	if err != nil {
		d.log.Warn("cannot tell whether the host's iptables drops forwarded packets", "err", err)
	}
	if drops {
		return d.openIptables(ctx, legacy)
	}
	b, err := nft.Open(d.names())
	if err == nil {
		return b, nil
	}
	i, err2 := d.openIptables(ctx, false)
	if err2 != nil {
		return nil, errors.Join(err, err2)
	}
	return i, nil
}

func (d *Driver) openIptables(ctx context.Context, legacy bool) (firewall.Backend, error) {
	t, err := iptables.Find(ctx, legacy)
	if err != nil {
		return nil, err
	}
	return iptables.Open(d.names(), t), nil
}

// forwardDrops says whether the host's iptables drops by policy, and which
// variant does.
func forwardDrops(ctx context.Context) (drops, legacy bool, err error) {
	drops, err = nft.ForwardDrops()
	if drops {
		return true, false, nil
	}
	loaded, readErr := os.ReadFile("/proc/net/ip_tables_names")
	if errors.Is(readErr, fs.ErrNotExist) || readErr == nil && !slices.Contains(strings.Fields(string(loaded)), "filter") {
		return false, false, err
	}
	t, err := iptables.Find(ctx, true)
	if err != nil {
		return false, false, errors.Join(readErr, err)
	}
	drops, err = iptables.ForwardDrops(ctx, t)
	return drops, true, err
}

// rechoose goes over to iptables when its policy has become to drop.
func (d *Driver) rechoose(ctx context.Context) error {
	if d.settings.Firewall != autoFirewall || d.rules.Backend() != nft.Name {
		return nil
	}
	drops, legacy, err := forwardDrops(ctx)
	if err != nil || !drops {
		return err
	}
	b, err := d.openIptables(ctx, legacy)
	if err != nil {
		return fmt.Errorf("the host's FORWARD chain drops by policy: %w", err)
	}
	if err := d.rules.Switch(ctx, b, d.clock(b)); err != nil {
		return err
	}
	d.log.Warn("the host's iptables drops forwarded packets by policy now, rules went over from nftables to iptables")
	return d.noteBackend(iptables.Name)
}

// backendNote is where the backend at work is noted, until a reboot.
func (d *Driver) backendNote() string { return filepath.Join(d.config.RunDir, "firewall") }

func (d *Driver) noteBackend(name string) error {
	return os.WriteFile(d.backendNote(), []byte(name), 0o600)
}

func (d *Driver) replaceFormer(ctx context.Context, name string) error {
	data, err := os.ReadFile(d.backendNote())
	former := string(bytes.TrimSpace(data))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if former != "" && former != name {
		if err := d.removeRules(ctx, former); err != nil {
			return err
		}
	}
	return d.noteBackend(name)
}

func (d *Driver) removeRules(ctx context.Context, name string) (err error) {
	var b firewall.Backend
	if name == nft.Name {
		b, err = nft.Open(d.names())
	} else {
		b, err = d.openIptables(ctx, false)
	}
	if err != nil {
		return err
	}
	return errors.Join(b.Remove(ctx), b.Close())
}

package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/plugins/net-bridge/internal/hostport"
	"github.com/strakehq/strake/plugins/net-bridge/internal/link"
	"github.com/strakehq/strake/plugins/net-bridge/internal/record"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
)

// Configure reads the records of former processes and makes the kernel's rules
// and the held ports agree with them.
func (d *Driver) Configure(ctx context.Context, c driver.Config) error {
	d.configuring.Lock()
	defer d.configuring.Unlock()
	if d.configured() == nil {
		return d.unchanged(c)
	}
	s, err := parseOptions(c.Options)
	if err != nil {
		return fmt.Errorf("network driver bridge: %w", err)
	}
	d.config, d.settings = c, s
	d.owner = digest(c.StateDir)[:8]
	d.ports = hostport.NewTable(s.ephemeral)
	if err := errors.Join(d.readBoot(), d.openRecords()); err != nil {
		return fmt.Errorf("network driver bridge: configure: %w", err)
	}
	if err := d.openKernel(ctx); err != nil {
		return fmt.Errorf("network driver bridge: configure: %w", err)
	}
	if err := d.resume(ctx); err != nil {
		return errors.Join(fmt.Errorf("network driver bridge: configure: %w", err), d.closeKernel())
	}
	close(d.ready)
	d.work.start(d.watch)
	d.work.start(d.watchLinks)
	return nil
}

func (d *Driver) unchanged(c driver.Config) error {
	if c.StateDir == d.config.StateDir && c.RunDir == d.config.RunDir && bytes.Equal(c.Options, d.config.Options) {
		return nil
	}
	return fmt.Errorf("network driver bridge: configured with other values already, restart it: %w", errdefs.ErrFailedPrecondition)
}

func (d *Driver) readBoot() error {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	d.boot = string(bytes.TrimSpace(data))
	return err
}

// openRecords reads all records. Those of endpoints from before a reboot are
// dropped.
func (d *Driver) openRecords() error {
	var errs [3]error
	d.netDir, errs[0] = record.Open(filepath.Join(d.config.StateDir, "networks"), true)
	d.epDir, errs[1] = record.Open(filepath.Join(d.config.RunDir, "endpoints"), false)
	d.curDir, errs[2] = record.Open(filepath.Join(d.config.RunDir, "cursors"), false)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(
		read(d.netDir, func(id string, n *netState) error {
			d.networks[network.NetworkID(id)] = n
			return nil
		}),
		read(d.epDir, func(id string, e *endpoint) error {
			if e.Boot != d.boot {
				return d.epDir.Delete(id)
			}
			d.endpoints[network.EndpointID(id)] = e
			return nil
		}),
		read(d.curDir, func(id string, c *cursor) error {
			d.cursors[network.NetworkID(id)] = *c
			return nil
		}),
	)
}

func read[T any](dir record.Dir, take func(id string, v *T) error) error {
	return dir.Each(func(id string, data []byte) error {
		v := new(T)
		if err := json.Unmarshal(data, v); err != nil {
			return fmt.Errorf("record is unreadable, remove the file: %w: %w", err, errdefs.ErrDataLoss)
		}
		return take(id, v)
	})
}

func (d *Driver) openKernel(ctx context.Context) error {
	if err := d.forwarding(); err != nil {
		return err
	}
	var err error
	if d.links, err = link.Open(d.owner); err != nil {
		return err
	}
	if err := d.openFirewall(ctx); err != nil {
		d.links.Close()
		return err
	}
	return nil
}

// forwarding switches on IPv4 forwarding, and notes in the run directory that
// it was off, for whoever wants to take it back.
func (d *Driver) forwarding() error {
	if !d.settings.IPForward {
		return nil
	}
	was, err := link.Sysctl("ipv4/ip_forward", "1")
	if err != nil {
		return fmt.Errorf("switch on IPv4 forwarding (or set the option ip_forward to false): %w", err)
	}
	if was == "1" {
		return nil
	}
	note := filepath.Join(d.config.RunDir, "ip_forward-was-0")
	if _, err := os.Stat(note); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(note, nil, 0o600)
}

// resume takes up the work of a former process: rules, held ports, deletions.
func (d *Driver) resume(ctx context.Context) error {
	d.mu.Lock()
	ns := map[network.NetworkID]firewall.Network{}
	for id, n := range d.networks {
		ns[id] = n.rules()
	}
	fs := map[network.EndpointID][]firewall.Forward{}
	var leaving []*endpoint
	for id, e := range d.endpoints {
		if e.Leaving {
			leaving = append(leaving, e)
			continue
		}
		if _, err := d.ports.Reserve(id, e.Ports); err != nil {
			// Somebody was quicker while no driver ran. The rules send
			// the traffic to the container all the same.
			d.log.Warn("published port is no longer held", "endpoint", id, "container", e.Want.Container, "err", err)
		}
		if len(e.Ports) > 0 {
			fs[id] = e.forwards()
		}
	}
	d.mu.Unlock()
	d.rules.Load(ns, fs)
	if err := d.rules.Sync(ctx); err != nil {
		return err
	}
	for _, e := range leaving {
		d.work.later(func(ctx context.Context) { d.finish(ctx, e) })
	}
	return nil
}

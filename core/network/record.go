package network

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/store"
	sdk "github.com/strakehq/strake/sdk/network"
)

// Names of the predefined networks, and the drivers of those that need none.
const (
	bridgeName = network.NetworkBridge
	hostName   = network.NetworkHost
	noneName   = network.NetworkNone
	hostDriver = "host"
	nullDriver = "null"
)

// record is a network.
type record struct {
	ID      string
	Name    string
	Created time.Time
	// Driver is the driver's name as people see it.
	Driver string
	// DriverKey is the name by which the configuration knows the driver;
	// empty: its default, also when a user named that.
	DriverKey  string
	Internal   bool
	Attachable bool
	Labels     map[string]string
	Options    map[string]string
	// UserSubnet: the user chose the subnet, so static addresses are fine.
	UserSubnet bool
	// Made is the network as the driver answered; before its first answer,
	// as it was asked for.
	Made sdk.Network
}

// builtin networks have no driver.
func (r record) builtin() bool { return r.Driver == hostDriver || r.Driver == nullDriver }

func (r record) predefined() bool { return predefined(r.Name) }

func predefined(name string) bool {
	return name == bridgeName || name == hostName || name == noneName || name == network.NetworkDefault
}

// servedBy says whether the driver that the configuration calls name, which is
// also its name in Driver when it is the default, serves the network.
func (r record) servedBy(name string) bool {
	return r.DriverKey == name || r.DriverKey == "" && r.Driver == name
}

func table() store.Table[record] { return store.NewTable[record]("networks") }

func newID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

// put writes a record to the store and to memory.
func (m *Manager) put(r record) error {
	if err := m.store.Update(func(tx *store.Tx) error { return table().Put(tx, r.ID, r) }); err != nil {
		return fmt.Errorf("network %s: record: %w", r.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.networks[r.ID] = r
	return nil
}

func (m *Manager) drop(r record) error {
	if err := m.store.Update(func(tx *store.Tx) error { return table().Delete(tx, r.ID) }); err != nil {
		return fmt.Errorf("network %s: record: %w", r.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.networks, r.ID)
	return nil
}

// all returns all networks, oldest first.
func (m *Manager) all() []record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.networks), func(a, b record) int { return a.Created.Compare(b.Created) })
}

// find resolves a network's id, name or unique prefix of an id, in this order.
func (m *Manager) find(ref string) (record, error) {
	if ref == network.NetworkDefault {
		ref = bridgeName
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.networks[ref]; ok {
		return r, nil
	}
	var byPrefix []record
	for _, r := range m.networks {
		if r.Name == ref {
			return r, nil
		}
		if ref != "" && strings.HasPrefix(r.ID, ref) {
			byPrefix = append(byPrefix, r)
		}
	}
	switch len(byPrefix) {
	case 1:
		return byPrefix[0], nil
	case 0:
		return record{}, fmt.Errorf("network %s not found: %w", ref, errdefs.ErrNotFound)
	default:
		return record{}, fmt.Errorf("network %s is ambiguous (%d matches found on ID prefix), give more of the id: %w", ref, len(byPrefix), errdefs.ErrInvalidArgument)
	}
}

// predefine makes the records of bridge, host and none. A bridge of another
// driver than the configured one is made anew: the configuration changed.
func (m *Manager) predefine(ctx context.Context) error {
	d, err := m.drivers.Network("")
	if err != nil {
		return err
	}
	name := bridgeName // should the driver not be there
	if info, err := d.Info(ctx); err == nil {
		name = info.Name
	}
	m.mu.Lock()
	m.defaultDriver = name
	m.mu.Unlock()
	for _, want := range []record{{Name: bridgeName, Driver: name}, {Name: hostName, Driver: hostDriver}, {Name: noneName, Driver: nullDriver}} {
		have, err := m.find(want.Name)
		if err == nil && have.Driver == want.Driver {
			continue
		}
		if err == nil {
			if err := m.drop(have); err != nil {
				return err
			}
		}
		want.ID, want.Created = newID(), time.Now().UTC()
		want.Made = sdk.Network{ID: sdk.NetworkID(want.ID), Name: want.Name}
		if err := m.put(want); err != nil {
			return err
		}
	}
	return nil
}

// ensure has the driver make or repair a network, and records what it says.
func (m *Manager) ensure(ctx context.Context, r record) (record, error) {
	d, err := m.drivers.Network(r.DriverKey)
	if err != nil {
		return r, err
	}
	made, err := d.EnsureNetwork(ctx, r.Made)
	if err != nil {
		return r, err
	}
	if equalNetworks(made, r.Made) {
		return r, nil
	}
	r.Made = made
	return r, m.put(r)
}

func equalNetworks(a, b sdk.Network) bool {
	return a.Internal == b.Internal && a.IPv6 == b.IPv6 && slices.EqualFunc(a.Subnets, b.Subnets, func(x, y sdk.Subnet) bool {
		return x.Prefix == y.Prefix && x.Gateway == y.Gateway && x.Range == y.Range
	})
}
